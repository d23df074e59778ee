"""Choose values of `train` by short runs on dev queries (`foundry tune`); test data is not read.

A trial trains with a small budget of steps on what `mine` left, and is compared by the trainer's own dev check. Optuna
proposes values and stops trials that are worse than half of the others at the same step. Trials are kept in
.cache/tune.db: a stopped sweep continues, and the trial that was running starts again.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import Config, load_config, read_parameters
from components.config.flatten import value_at
from components.config.load import parse_config
from components.config.overrides import apply_overrides
from components.training.watch import all_alike, moved_together

log = logging.getLogger(__name__)
CHECKS = 4  # dev checks of a trial
DEV, COSINE = "dev/ndcg_at_10", "train/mean_cosine"
Report = Callable[[dict[str, float], int | None], None]
Train = Callable[[Config, Path, Report], None]


@dataclass(frozen=True)
class Search:
    """The values of one key that are tried: a range (whole numbers where both ends are), or a list."""

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def covers(self, value: Any) -> bool:
        """Whether a value is one of those that are tried."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def suggest(self, trial: Any) -> Any:
        """The trial's value: three digits are enough to write down."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        return round_value(trial.suggest_float(self.key, self.low, self.high, log=self.log))


@dataclass
class Watched:
    """Results of a trial: the best dev score so far, and the mean cosine of the queries at each step."""

    best: float = 0.0
    cosines: list[float] = field(default_factory=list)

    @property
    def collapsed(self) -> bool:
        """Whether the vectors do not part, by the rules that training warns by."""
        return bool(self.cosines) and (all_alike(self.cosines) or moved_together(self.cosines))


def parse_search(text: str) -> Search:
    """`KEY=LOW:HIGH`, `KEY=LOW:HIGH:log` or `KEY=A,B,C`.

    >>> parse_search("train.learning_rate=1e-4:5e-3:log")
    Search(key='train.learning_rate', low=0.0001, high=0.005, log=True, choices=())

    Raises:
        UserError: it is none of these, or the key is not one of train's.
    """
    key, _, values = text.partition("=")
    if not key.startswith("train."):
        raise UserError(f"tune {text}: only keys of train can be tuned, such as train.learning_rate=1e-4:5e-3:log")
    parts = values.split(":")
    try:
        if len(parts) == 1 and "," in values:
            return Search(key, choices=tuple(map(_value, values.split(","))))
        low, high = map(json.loads, parts[:2])
        well_formed = parts[2:] in ([], ["log"]) and low < high and (low > 0 or not parts[2:])
    except (ValueError, TypeError):
        well_formed = False
    if not well_formed:
        raise UserError(f"tune {text}: must be KEY=LOW:HIGH, KEY=LOW:HIGH:log (above 0) or KEY=A,B,C")
    return Search(key, low, high, bool(parts[2:]))


def _value(text: str) -> Any:
    """A number, true or false, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def trial_config(raw: Any, values: Mapping[str, Any], steps: int) -> Config:
    """The parameters of a trial: a short run that is checked on dev and writes no checkpoint.

    Raises:
        UserError: a key or a value is not valid.
    """
    dev = (raw["train"].get("dev") or {}) | {"every": max(1, steps // CHECKS), "patience": 0}
    budget = {
        "train.steps": steps,
        "train.dev": dev,
        "train.checkpoint_every": steps,
        "train.merge": None,
        "train.warmup_steps": min(raw["train"].get("warmup_steps", 0), steps // CHECKS),
    }
    return parse_config(apply_overrides(raw, budget | dict(values)), "tune")


def open_study(root: Path, raw: Any, searches: Sequence[Search], steps: int) -> Any:
    """Optuna's study of this sweep: the same parameters, negatives and ranges continue the same one.

    Raises:
        UserError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("tune needs Optuna; pip install 'embedding-foundry[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    about = [raw, [repr(one) for one in searches], steps, content_hash(root / "outputs" / "mine")]
    name = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
    file = root / ".cache" / "tune.db"
    file.parent.mkdir(exist_ok=True)
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{file}",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=steps // CHECKS),
    )
    study.sampler = optuna.samplers.TPESampler(seed=raw["seed"] + len(study.trials))  # not the first draws again
    return study


def tune(root: Path, searches: Sequence[Search], trials: int, steps: int, train: Train | None = None) -> Any:
    """Run the trials that are left; returns the study.

    Args:
        train: trains one trial with (parameters, scratch folder, report); the product's trainer when empty.

    Raises:
        UserError: `mine` has not run, a key is unknown, or no task can be checked on dev queries.
    """
    if not (root / "outputs" / "mine" / "triplets.parquet").is_file():
        raise UserError(f"{root / 'outputs' / 'mine'}: missing; run the stages before train first: foundry run mine")
    load_config(root / "params.yaml")
    raw = read_parameters(root / "params.yaml")
    study = open_study(root, raw, searches, steps)
    train = train or trainer_of(root)
    _put_back(study, {one.key: value_at(raw, one.key) for one in searches if one.covers(value_at(raw, one.key))})
    while (left := trials - len(finished_trials(study))) > 0:
        trial = study.ask()
        values = {one.key: one.suggest(trial) for one in searches}
        log.info("trial %s, %s left: %s", trial.number, left - 1, format_values(values))
        _run_trial(study, trial, trial_config(raw, values, steps), root / ".cache" / "work" / "tune", train)
    return study


def _put_back(study: Any, current: Mapping[str, Any]) -> None:
    """Queue the trial that a kill left at work; in a new study the values of params.yaml that are
    among those tried, to compare with."""
    from optuna.trial import TrialState

    for old in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(old.number, state=TrialState.FAIL)
        study.enqueue_trial(old.params)
    if not study.trials and current:
        study.enqueue_trial(dict(current))


def _run_trial(study: Any, trial: Any, config: Config, work: Path, train: Train) -> None:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    seen, state = Watched(), TrialState.COMPLETE

    def report(metrics: dict[str, float], step: int | None) -> None:
        if COSINE in metrics:
            seen.cosines.append(metrics[COSINE])
        if DEV not in metrics:
            return
        seen.best = max(seen.best, metrics[DEV])
        trial.report(metrics[DEV], step)
        if trial.should_prune():
            raise TrialPruned

    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    note = ""
    try:
        train(config, work, report)
    except TrialPruned:
        state = TrialState.PRUNED
    except UserError as problem:
        if "the loss is" not in str(problem):
            raise
        state, note = TrialState.PRUNED, "diverged"
    shutil.rmtree(work)
    if seen.collapsed:
        note = "collapsed"
    trial.set_user_attr("note", note)
    trial.set_user_attr("best", seen.best)
    trial.set_user_attr("mean_cosine", seen.cosines[-1] if seen.cosines else None)
    trial.set_user_attr("steps", len(seen.cosines))
    study.tell(trial, seen.best if state == TrialState.COMPLETE else None, state=state)


def trainer_of(root: Path) -> Train:
    """Trains with the stage's own code; the training data is read once."""
    from components.base.machine import free_memory
    from components.stage.context import StageContext
    from components.training.train import fit_adapter, load_data
    from components.training.world import join_world

    data: list[Any] = []

    def train(config: Config, work: Path, report: Report) -> None:
        outputs, out = root / "outputs", work / "out"
        out.mkdir()
        context = StageContext(config, outputs, out, work, root / ".cache", report)
        if not data:
            data.append(load_data(context, config))
            if not any(data[0].tasks[name].kind in ("retrieval", "reranking") for name in data[0].dev_queries):
                raise UserError("tune: no task of retrieval or reranking has dev queries, which trials are compared on")
        fit_adapter(context, outputs / "fetch" / "models" / "student", data[0], join_world(config.train.distributed))
        free_memory()

    return train


def finished_trials(study: Any) -> list[Any]:
    """The trials that have ended, the best first."""
    from optuna.trial import TrialState

    ended = study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
    return sorted(ended, key=lambda trial: (trial.state == TrialState.COMPLETE, trial.user_attrs["best"]), reverse=True)


def table(study: Any) -> list[str]:
    """A line a trial, the best first."""
    rows = finished_trials(study)
    lines = [f"{'dev nDCG@10':>12} {'steps':>6} {'mean cosine':>12}  values"]
    for trial in rows:
        told = trial.user_attrs
        cosine = f"{told['mean_cosine']:.3f}" if told["mean_cosine"] is not None else "-"
        why = told["note"] or ("stopped early" if trial.state.name == "PRUNED" else "")
        values = format_values({key: round_value(value) for key, value in trial.params.items()})
        lines.append(f"{told['best']:12.4f} {told['steps']:6} {cosine:>12}  {values}{f'  ({why})' if why else ''}")
    return lines


def best_values(study: Any) -> dict[str, Any]:
    """The values of the best trial. Raises UserError: every trial collapsed or diverged."""
    best = next(
        (one for one in finished_trials(study) if one.state.name == "COMPLETE" and not one.user_attrs["note"]), None
    )
    if best is None:
        raise UserError("tune: every trial collapsed or diverged; try lower values of train.learning_rate")
    return {key: round_value(value) for key, value in best.params.items()}


def format_values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def round_value(value: Any) -> Any:
    """
    >>> round_value(0.00123456), round_value(16), round_value("linear")
    (0.00123, 16, 'linear')
    """
    return float(f"{value:.3g}") if isinstance(value, float) else value
