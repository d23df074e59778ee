"""`foundry tune`: on dev only, resumable, pruned, and honest about collapse."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.errors import UserError
from components.config import Config
from components.training.watch import moved_together
from flows import tune
from flows.tune import COSINE, DEV, Report, Search, parse_search
from tests.models import make_tiny_student
from tests.samples import small_parameters, write_training_tables

RATE = Search("train.learning_rate", 1e-3, 1e-1, True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_parameters()))
    mined = tmp_path / "outputs" / "mine"
    mined.mkdir(parents=True)
    (mined / "triplets.parquet").touch()
    return tmp_path


class Trainer:
    """In place of training: dev is best at a rate of 0.02; a higher one than 0.05 collapses."""

    def __init__(self, killed_at: int = -1) -> None:
        self.rates: list[float] = []
        self.killed_at = killed_at

    def __call__(self, config: Config, work: Path, report: Report) -> None:
        assert config.train.steps == 40
        assert config.train.dev.every == 10
        rate = config.train.learning_rate
        self.rates.append(rate)
        for step in range(40):
            moving = 0.995 + step * 1.2e-4 if rate > 0.05 else 0.995 - step * 0.02
            report({COSINE: moving}, step)
            if len(self.rates) - 1 == self.killed_at and step == 20:
                raise KeyboardInterrupt
            if (step + 1) % 10 == 0:
                report({DEV: 0.6 - abs(rate - 0.02) + step / 400}, step)


@pytest.mark.slow
def test_the_first_trial_is_what_params_yaml_has_and_the_best_is_found(root: Path) -> None:
    trainer = Trainer()
    study = tune.tune(root, [RATE], 8, 40, trainer)
    assert trainer.rates[0] == 0.01
    assert len(trainer.rates) == len(set(trainer.rates)) == 8
    best = tune.best_values(study)["train.learning_rate"]
    assert best == min(trainer.rates, key=lambda rate: abs(rate - 0.02))
    lines = tune.table(study)
    assert len(lines) == 9
    assert f"train.learning_rate={best}" in lines[1]
    assert any("(stopped early)" in line or "(collapsed)" in line for line in lines)


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_with_the_trial_that_was_at_work(root: Path) -> None:
    first, second = Trainer(killed_at=2), Trainer()
    with pytest.raises(KeyboardInterrupt):
        tune.tune(root, [RATE], 4, 40, first)
    study = tune.tune(root, [RATE], 4, 40, second)
    assert len(first.rates) == 3
    assert second.rates[0] == first.rates[2]
    assert len(second.rates) == 2
    assert len(tune.finished_trials(study)) == 4
    again = Trainer()
    tune.tune(root, [RATE], 4, 40, again)
    assert again.rates == []
    (root / "outputs" / "mine" / "triplets.parquet").write_text("other negatives")
    tune.tune(root, [RATE], 1, 40, again)
    assert again.rates == [0.01], "another sweep"


@pytest.mark.slow
def test_collapse_is_told_and_never_the_best(root: Path) -> None:
    study = tune.tune(root, [Search("train.learning_rate", choices=(0.06, 0.01))], 4, 40, trainer := Trainer())
    notes = {trial.params["train.learning_rate"]: trial.user_attrs["note"] for trial in tune.finished_trials(study)}
    assert trainer.rates[0] == 0.01
    assert notes == {0.01: "", 0.06: "collapsed"}
    assert tune.best_values(study) == {"train.learning_rate": 0.01}
    assert moved_together([0.995] * 10 + [0.998] * 10)
    assert not moved_together([0.995] * 10 + [0.7] * 10)


@pytest.mark.slow
def test_divergence_is_a_result_and_other_errors_are_not(root: Path) -> None:
    def diverge(config: Config, work: Path, report: Report) -> None:
        raise UserError("train: step 3: the loss is nan on a batch")

    study = tune.tune(root, [RATE], 1, 40, diverge)
    assert "(diverged)" in tune.table(study)[1]
    with pytest.raises(UserError, match="every trial collapsed or diverged"):
        tune.best_values(study)

    def fail(config: Config, work: Path, report: Report) -> None:
        raise UserError("adapter: missing")

    with pytest.raises(UserError, match="adapter: missing"):
        tune.tune(root, [RATE], 2, 40, fail)


def test_keys_and_ranges(root: Path) -> None:
    assert parse_search("train.lora.rank=8:32:log") == Search("train.lora.rank", 8, 32, True)
    assert parse_search("train.schedule=linear,cosine").choices == ("linear", "cosine")
    for wrong in ("mine.margin=0.9:1", "train.steps", "train.steps=3", "train.steps=5:3", "train.alpha=0:1:log"):
        with pytest.raises(UserError, match=f"tune {wrong}"):
            parse_search(wrong)
    with pytest.raises(UserError, match="train"):
        tune.tune(root, [Search("train.no_such_key", 0.1, 0.2)], 1, 40, Trainer())
    shutil.rmtree(root / "outputs")
    with pytest.raises(UserError, match="foundry run mine"):
        tune.tune(root, [RATE], 1, 40, Trainer())


@pytest.mark.slow
def test_the_product_s_trainer_without_any_test_data(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_parameters()))
    outputs = tmp_path / "outputs"
    write_training_tables(outputs)
    make_tiny_student(outputs / "fetch" / "models" / "student")
    assert not (outputs / "prepare" / "benchmark").exists()
    study = tune.tune(tmp_path, [RATE], 1, 4)
    trial: Any = tune.finished_trials(study)[0]
    assert trial.state.name == "COMPLETE"
    assert trial.user_attrs["steps"] == 4
    assert 0 < trial.user_attrs["best"] <= 1
