"""Runs of a recipe's variants in one folder: trained by the product's stages, scored on dev and on the test tasks.

A run is a variant and a seed. It is over when its run.json is there, which is written last and whole; a kill loses at
most the stage that was at work, which begins again, so that its CPU seconds are those of the whole stage. Runs share
what they have in common (benchmarks/stage_store.py). Each is a pipeline in the folder's MLflow: `foundry runs` in the
folder compares them. Texts that an earlier run embedded for a teacher are not embedded again: the CPU seconds of a
variant whose retrieve runs again (one_retriever, production, paraphrases) are too low by that.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.about import note_code, noted_code
from benchmarks.json_file import write_json
from benchmarks.peers.measure import Scores, dev_score, score_test_tasks
from benchmarks.rehearsal import ROOT, prepare_folder, tracking_store
from benchmarks.stage_store import Kept, StageStore, remove
from components.base.errors import UserError
from components.base.hashing import json_hash
from components.config import Config, read_parameters
from components.config.load import parse_config
from components.config.overrides import apply_overrides
from components.contracts.shots import ChosenShots, write_shots
from components.contracts.tasks import read_tasks
from components.data.inputs import read_inputs
from components.data.shot_pool import clean_pools, held_out_guard
from components.fewshot.select_shots import select_fitting_shots, trained_prompt
from components.model.encoder import EncoderSource
from components.model.load_once import load_once
from components.tracking import upload
from components.tracking.journal import Journal
from components.tracking.store import connect, tracking_folder
from components.tracking.summary import metrics_of, named_metrics, pipeline_start
from components.training.pair_keys import write_trained_on

BEFORE = ("local_files", "fetch", "prepare")  # not counted: every variant has them
SEEDED = ("train", "select_shots")  # stages that a run's seed is for; the data and the negatives are the same for all
START = "start"  # the name in fetch.models of the adapter that a run goes on from


@dataclass(frozen=True)
class Variant:
    """One entry of benchmarks/ablation.yaml, which says what the fields mean."""

    name: str
    family: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    against: str = "full"
    start: str = ""
    fixed_shots: int = 0


@dataclass(frozen=True)
class Result:
    """What a run left. test: each example's value, by task; tokens: of training; cpu_seconds: retrieve to shots."""

    variant: str
    seed: int
    dev: float
    test: dict[str, list[float]]
    cpu_seconds: float
    tokens: float

    @property
    def scores(self) -> Scores:
        return {task: np.array(values) for task, values in self.test.items()}


class Runs:
    """The runs of one folder. Its code is that of the first call: `code` has the commit."""

    def __init__(self, folder: Path, recipe: str, always: Mapping[str, Any], variants: Mapping[str, Variant]) -> None:
        self.folder, self.runs, self.variants = folder.resolve(), folder.resolve() / "runs", variants
        self.raw = apply_overrides(read_parameters(ROOT / "recipes" / f"{recipe}.yaml"), always)
        parse_config(self.raw, recipe)
        if not (self.folder / "code.json").is_file():
            self._prepare()
        self.code = noted_code(self.folder)
        self.store = StageStore(self.folder)

    def _prepare(self) -> None:
        """Make the folder as a whole, or not at all. Raises UserError: it is there and holds something else."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder}: holds files of something else; give an empty folder, or a new one")
        draft = self.folder.with_name(f"{self.folder.name}.partial")
        remove(draft)
        prepare_folder(draft, self.raw)
        note_code(draft)
        draft.rename(self.folder)

    def place(self, variant: Variant, seed: int) -> Path:
        """The folder of a run, named by its parameters too: other ones never find its result."""
        return self.runs / f"{variant.name}-{seed}-{self._digest(variant)}"

    def _digest(self, variant: Variant) -> str:
        before = self._digest(self.variants[variant.start]) if variant.start else ""
        about = [self.raw, dict(variant.changes), variant.fixed_shots, before]
        return json_hash(about)[:8]

    def start_of(self, variant: Variant, seed: int) -> Path:
        """The adapter that a run goes on from."""
        return self.place(self.variants[variant.start], seed) / "adapter"

    def is_over(self, variant: Variant, seed: int) -> bool:
        return (self.place(variant, seed) / "run.json").is_file()

    def result(self, variant: Variant, seed: int) -> Result:
        """The result of a run; trained and scored now if it was not."""
        if not self.is_over(variant, seed):
            self._run(variant, seed)
        file = self.place(variant, seed) / "run.json"
        return Result(**json.loads(file.read_text(encoding="utf-8")))

    def _run(self, variant: Variant, seed: int) -> None:
        changes = dict(variant.changes)
        if variant.start:
            changes |= self._start_from(self.variants[variant.start], seed)
        raw, place = apply_overrides(self.raw, changes), self.place(variant, seed)
        config = parse_config({**raw, "seed": seed}, variant.name)
        print(f"{variant.name}, seed {seed}", flush=True)
        remove(place)
        place.mkdir(parents=True)
        record, status = self._open_record(variant, seed, raw), "KILLED"
        try:
            kept = self.store.bring("select_shots", raw, dict.fromkeys(SEEDED, seed), f"journal:{record.identity}")
            done = self._score(variant, config, kept)
            record.metrics(self._metrics(kept, done))
            status = "FINISHED"
        except (Exception, SystemExit):
            status = "FAILED"
            raise
        finally:
            record.end(status)
        upload.wait_until_uploaded(record.folder)
        write_json(place / "run.json", asdict(done))

    def _start_from(self, first: Variant, seed: int) -> dict[str, Any]:
        """The changes that make a run go on from the adapter of `first`, which gets the list of its pairs."""
        from flows.update import judged_pairs, mined_pairs

        self.result(first, seed)
        self.store.bring("mine", apply_overrides(self.raw, first.changes), {}, "")
        outputs, cache = self.folder / "outputs", self.folder / ".cache"
        adapter = self.place(first, seed) / "adapter"
        pairs = np.union1d(judged_pairs(outputs / "prepare", cache), mined_pairs(outputs, cache))
        write_trained_on(pairs, adapter)
        return changes_from(adapter)

    def _score(self, variant: Variant, config: Config, kept: Mapping[str, Kept]) -> Result:
        outputs, place = self.folder / "outputs", self.place(variant, config.seed)
        shutil.copytree(kept["train"].folder / "adapter", place / "adapter")
        shots = Path(shutil.copy(outputs / "select_shots" / "shots.yaml", place / "shots.yaml"))
        models = outputs / "fetch" / "models"
        source = EncoderSource(
            models / "student", self.folder / ".cache" / "vectors", config.prompt, config.encoder, place / "adapter"
        )
        if variant.fixed_shots:
            fix_shots(variant.fixed_shots, source, config, outputs, shots)
        test = score_test_tasks("trained", source, shots, config, outputs, place / "test")
        steps = metrics_of(kept["train"].folder)["train.steps"]
        return Result(
            variant.name,
            config.seed,
            dev_score(source, outputs / "prepare"),
            {task: values.tolist() for task, values in test.items()},
            sum(one.cpu_seconds for name, one in kept.items() if name not in BEFORE),
            self._tokens_a_step(kept["train"]) * steps,
        )

    def _open_record(self, variant: Variant, seed: int, raw: Any) -> Journal:
        """The MLflow run above those of the stages."""
        self.store.write_parameters({**raw, "seed": seed})
        tags = {
            "recipe": f"{variant.name} seed {seed}",
            "variant": variant.name,
            "family": variant.family,
            **self.code,
        }
        start = pipeline_start(self.folder, "python -m benchmarks.ablation", title=tags["recipe"], tags=tags)
        record = Journal.open(tracking_folder(self.folder), replace(start, store=tracking_store(self.folder)))
        upload.start_uploader(self.folder)
        return record

    def _metrics(self, kept: Mapping[str, Kept], done: Result) -> dict[str, float]:
        """What `foundry runs` and MLflow show of a run: every stage's metrics, test and dev scores, and the cost."""
        scores = {task: float(values.mean()) for task, values in done.scores.items()}
        return {
            **named_metrics({name: metrics_of(one.folder) for name, one in kept.items()}),
            **{f"evaluate/trained.{task}": score for task, score in scores.items()},
            "evaluate/trained.mean": float(np.mean(list(scores.values()))),
            "cost/dev": done.dev,
            "cost/cpu_seconds": done.cpu_seconds,
            "cost/tokens": done.tokens,
        }

    def _tokens_a_step(self, trained: Kept) -> float:
        """Mean tokens of a training step, by MLflow's newest training run when the adapter is new; then kept by it."""
        file = trained.folder.with_name("tokens.json")
        if not file.is_file():
            file.write_text(json.dumps(newest_tokens_a_step(tracking_store(self.folder))), encoding="utf-8")
        return float(json.loads(file.read_text(encoding="utf-8")))


def newest_tokens_a_step(uri: str) -> float:
    """Mean tokens of a step of the newest training run in an MLflow store; 0 if it logged no step."""
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    order, trained = ["attributes.start_time DESC"], "tags.`dvc.stage` = 'train'"
    for run in client.search_runs(experiments, trained, order_by=order, max_results=1):
        rates, seconds = (
            {one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}
            for name in ("speed/tokens_per_second", "speed/step_seconds")
        )
        if rates:
            return float(np.mean([rate * seconds[step] for step, rate in rates.items()]))
    return 0.0


def changes_from(adapter: Path) -> dict[str, Any]:
    """The changes that make a run go on from an adapter."""
    origin = {"kind": "local", "path": str(adapter), "licence": "own"}
    return {f"fetch.models.{START}": {"origin": origin, "format": "adapter"}, "train.init_adapter": START}


def fix_shots(number: int, source: EncoderSource, config: Config, outputs: Path, file: Path) -> None:
    """Write shots.yaml with the first training pairs that fit as shots of every task, without a choice on dev."""
    prepared = outputs / "prepare"
    inputs, tasks, prompt = read_inputs(prepared), read_tasks(prepared / "tasks.yaml"), load_once(source).prompt
    guard = held_out_guard(prepared)
    pools, problems = clean_pools(inputs, tasks, guard, config.select_shots.pool, config.seed)
    shots = {
        name: select_fitting_shots(range(len(pool)), pool, prompt, tasks[name].instruction, number)
        for name, pool in pools.items()
    }
    shots |= {name: [] for name in problems}
    write_shots({name: ChosenShots("fixed", trained_prompt(tasks[name], own)) for name, own in shots.items()}, file)
