"""Ours against sentence-transformers and FlagEmbedding: same student, pairs, CPU seconds and test tasks, three seeds.

    python -m benchmarks.quality_vs_peers [--folder DIR] [--json FILE] [--flagembedding PYTHON] [--seeds N] [--quick]

recipes/bench.yaml: six training tasks, and test tasks of which seven come from sources that no side trained on. The CPU
seconds of our retrieve, score, mine, train and select_shots are every side's budget, its own mining included; a peer's
steps are what is left for them by shorter runs of it. Each side's learning rate is chosen on dev queries (seed 1),
by the measure of each kind of task, from at least four: where the highest or lowest is best, the next one is tried too.
Test tasks are evaluated for the chosen rate only, with our evaluation, each side behind the prompt that it was trained
with. Differences: mean over the test tasks, examples and seeds resampled.

Runs that have finished in --folder are not run again. FlagEmbedding runs in the Python of an environment that has it;
without the option that side is reported as not run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml

from benchmarks.about import about, note_code, noted_code, processor
from benchmarks.json_file import write_json
from benchmarks.peers.data import write_student
from benchmarks.peers.encoder import PeerSource
from benchmarks.peers.measure import Scores, Source, dev_score, resampled_difference, score_test_tasks
from benchmarks.rehearsal import ROOT, prepare_folder, start
from benchmarks.stage_store import forget_killed
from components.config import load_config, read_parameters
from components.model.encoder import EncoderSource

RATES = {
    "ours": (1e-3, 2e-3, 3e-3, 5e-3),
    "sentence_transformers": (1e-3, 2e-3, 4e-3, 8e-3),
    "flagembedding": (1e-3, 2e-3, 4e-3, 8e-3),
}
TEMPLATES = {
    "sentence_transformers": "Instruct: {instruction}\nQuery: {text}",
    "flagembedding": "<instruct>{instruction}\n<query>{text}\n<response>",
}
BEFORE, OWN = ("retrieve", "score", "mine"), ("train", "select_shots")
UNSEEN = ("lee", "factual_summary", "xsum", "pubmedqa", "r8", "r52", "sms")


class Bench:
    """The folder of a comparison: what `prepare` made, the runs of every side, their scores."""

    def __init__(self, folder: Path, python: Path | None, quick: bool) -> None:
        self.folder, self.python, self.quick = folder, python, quick
        self.sides = [side for side in RATES if side != "flagembedding" or python]
        self.student, self.runs = folder / "student", folder / "runs"

    def prepare(self) -> None:
        """Texts, teacher scores and negatives; CPU seconds of each stage in cpu.json."""
        if (self.folder / "cpu.json").is_file():
            return
        self._empty_folder()
        raw = read_parameters(ROOT / "recipes" / "bench.yaml")
        if self.quick:
            raw["train"] |= {"steps": 4, "batch_queries": 8}
            raw["prepare"]["tasks"]["boolq"] |= {"train": 100, "test": 20, "test_documents": 40}
        prepare_folder(self.folder, raw)
        note_code(self.folder)
        spent = {stage: self.stage(stage) for stage in ("local_files", "fetch", "prepare", *BEFORE)}
        write_student(self.folder / "outputs" / "fetch" / "models" / "student", self.student)
        write_json(self.folder / "cpu.json", spent)

    def _empty_folder(self) -> None:
        """Begin again what was killed in `prepare`: of a stage that goes on, a part of the CPU seconds is not counted.

        Exits when the folder holds something else.
        """
        begun = self.folder / "begun"
        if self.folder.exists() and any(self.folder.iterdir()) and not begun.is_file():
            sys.exit(f"error: {self.folder}: holds files of something else; give an empty folder, or a new one")
        self.folder.mkdir(parents=True, exist_ok=True)
        begun.touch()
        for part in (".cache", "components", "flows", "outputs", "student"):
            shutil.rmtree(self.folder / part, ignore_errors=True)

    def stage(self, name: str) -> float:
        """Run a stage from its beginning; returns its CPU seconds. Exits with its status when it fails."""
        forget_killed(self.folder, name)
        process = start(self.folder, name)
        _, ended, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode:
            sys.exit(process.returncode)
        return used.ru_utime + used.ru_stime

    def run(self, side: str, rate: float, seed: int, steps: int = 0) -> Path:
        """The folder of a run, trained now if it was not; run.json has its CPU seconds."""
        out = self.runs / f"{side}-{rate:g}-{seed}{f'-{steps}-steps' if steps else ''}"
        if (out / "run.json").is_file():
            return out
        shutil.rmtree(out, ignore_errors=True)
        print(f"{side}: rate {rate:g}, seed {seed}{f', {steps} steps' if steps else ''}", flush=True)
        if side == "ours":
            self._train_ours(out, rate, seed)
        else:
            self._train_peer(side, out, rate, seed, steps or self.steps(side))
        return out

    def _train_ours(self, out: Path, rate: float, seed: int) -> None:
        parameters = self.folder / "params.yaml"
        raw = yaml.safe_load(parameters.read_text(encoding="utf-8"))
        raw["train"]["learning_rate"], raw["seed"] = rate, seed  # the split and the negatives are there already
        parameters.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
        before = json.loads((self.folder / "cpu.json").read_text(encoding="utf-8"))
        spent = sum(before[stage] for stage in BEFORE) + sum(self.stage(stage) for stage in OWN)
        out.mkdir(parents=True)
        (self.folder / "outputs" / "train" / "adapter").rename(out / "adapter")
        shutil.copy(self.folder / "outputs" / "select_shots" / "shots.yaml", out / "shots.yaml")
        write_json(out / "run.json", {"cpu_seconds": spent})

    def _train_peer(self, side: str, out: Path, rate: float, seed: int, steps: int) -> None:
        outputs = self.folder / "outputs"
        places = [outputs / "prepare", self.student, outputs / "fetch" / "models" / "dense_teacher", out]
        values = {"--rate": rate, "--seed": seed, "--steps": steps, "--python": self.python or ""}
        if self.quick:
            values |= {"--batch": 8}
        options = [str(part) for pair in values.items() for part in pair]
        command = [sys.executable, "-m", f"benchmarks.peers.{side}_side", *map(str, places), *options]
        with (self.folder / f"{side}.log").open("a") as log:
            done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False)
        if done.returncode:
            sys.exit(f"{side}: failed; see {self.folder / f'{side}.log'}")

    def steps(self, side: str) -> int:
        """Our steps; of a peer those that our CPU seconds allow, from a run of nearly so many, found by a short one."""
        if side == "ours":
            return load_config(self.folder / "params.yaml").train.steps
        rate, budget = RATES[side][0], cpu_of(self.run("ours", RATES["ours"][1], 1))
        few, steps = 2, 8
        for _ in range(2):  # of eight steps the seconds are too rough, of those that they allow not
            spent = {n: cpu_of(self.run(side, rate, 1, n)) for n in (few, steps)}
            per_step = (spent[steps] - spent[few]) / (steps - few)
            steps = max(few + 1, few + int((budget - spent[few]) / max(per_step, 1e-3)))
        return steps

    def source(self, side: str, run: Path) -> Source:
        """The trained model of a run."""
        store = self.folder / ".cache" / "vectors"
        if side != "ours":
            return PeerSource(run / "model", store, TEMPLATES[side])
        config = load_config(self.folder / "params.yaml")
        student = self.folder / "outputs" / "fetch" / "models" / "student"
        return EncoderSource(student, store, config.prompt, config.encoder, run / "adapter")

    def versions(self) -> dict[str, str]:
        """Of the peers' packages."""
        found = {"sentence-transformers": version("sentence-transformers")}
        if self.python:
            code = "from importlib.metadata import version; print(version('FlagEmbedding'))"
            told = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True)
            found["FlagEmbedding"] = told.stdout.strip()
        return found

    def dev(self, side: str, rate: float) -> float:
        """Mean dev score of a run of seed 1."""
        run = self.run(side, rate, 1)
        if not (run / "dev.json").is_file():
            score = dev_score(self.source(side, run), self.folder / "outputs" / "prepare")
            write_json(run / "dev.json", score)
        return float(json.loads((run / "dev.json").read_text(encoding="utf-8")))

    def test(self, side: str, rate: float, seed: int) -> Scores:
        """Test scores of a run, by task and example."""
        run = self.run(side, rate, seed)
        shots = run / "shots.yaml" if side == "ours" else None
        config = load_config(self.folder / "params.yaml")
        return score_test_tasks(side, self.source(side, run), shots, config, self.folder / "outputs", run / "test")


def cpu_of(run: Path) -> float:
    return float(json.loads((run / "run.json").read_text(encoding="utf-8"))["cpu_seconds"])


def main() -> None:
    """Run what has not run, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder when empty")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--flagembedding", type=Path, help="Python of an environment that has FlagEmbedding 1.4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="four steps, one rate, two seeds: the path, not the figures"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quality-") as temporary:
        bench = Bench(given.folder or Path(temporary), given.flagembedding, given.quick)
        bench.prepare()
        figures = compare(bench, 2 if given.quick else given.seeds)
        told = figures | {"about": about(given.seeds, bench.versions(), noted_code(bench.folder))}
    for name, value in figures.items():
        print(f"  {name:44} {value:.4g}")
    if not given.flagembedding:
        print("FlagEmbedding: not run; give --flagembedding the Python of an environment that has it")
    if given.json:
        write_json(given.json, told)


def compare(bench: Bench, seeds: int) -> dict[str, float]:
    """Figures: rates, CPU seconds and scores of each side, and differences with their intervals."""
    print(f"{processor()}, {os.cpu_count()} cores, {seeds} seeds", flush=True)
    figures: dict[str, float] = {}
    scores: dict[str, list[Scores]] = {}
    for side in bench.sides:
        dev = {rate: bench.dev(side, rate) for rate in (RATES[side][1:2] if bench.quick else RATES[side])}
        best = max(dev, key=lambda rate: dev[rate])
        while len(dev) > 1 and best in (min(dev), max(dev)):
            further = best * 2 if best == max(dev) else best / 2
            dev[further] = bench.dev(side, further)
            best = max(dev, key=lambda rate: dev[rate])
        figures |= {f"{side}_dev_at_{rate:g}": value for rate, value in dev.items()}
        scores[side] = [bench.test(side, best, seed) for seed in range(1, seeds + 1)]
        figures |= {f"{side}_rate": best, f"{side}_steps": bench.steps(side)}
        runs = [bench.run(side, best, seed) for seed in range(1, seeds + 1)]
        figures[f"{side}_cpu_seconds"] = float(np.mean([cpu_of(run) for run in runs]))
        figures |= mean_scores(side, scores[side])
    for side in bench.sides[1:]:
        figures |= differences_to(side, scores["ours"], scores[side])
    return figures


def mean_scores(side: str, scores: list[Scores]) -> dict[str, float]:
    """Scores x 100, means over seeds: each task, all tasks, the unseen ones."""
    tasks = {task: 100 * float(np.mean([one[task].mean() for one in scores])) for task in scores[0]}
    unseen = [tasks[task] for task in UNSEEN if task in tasks]
    each = {f"{side}_{task}": score for task, score in tasks.items()}
    return {f"{side}_mean": float(np.mean(list(tasks.values()))), f"{side}_unseen": float(np.mean(unseen)), **each}


def differences_to(side: str, ours: list[Scores], theirs: list[Scores]) -> dict[str, float]:
    """Ours minus theirs x 100 with the 95 % interval, over all test tasks and over the unseen ones."""
    figures: dict[str, float] = {}
    for what, tasks in (("", tuple(ours[0])), ("_unseen", UNSEEN)):
        mean, low, high = resampled_difference(ours, theirs, tasks)
        name = f"diff_vs_{side}{what}"
        figures |= {name: 100 * mean, f"{name}_low": 100 * low, f"{name}_high": 100 * high}
    return figures


if __name__ == "__main__":
    main()
