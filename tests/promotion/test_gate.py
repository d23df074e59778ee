"""The gate: what promotes, what holds, and the command line's one-line errors."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.promotion.gate import GateParams, decide, noise_floor
from components.statistics.paired import Evaluation
from tests.command import foundry
from tests.evaluation.samples import CATEGORIES, example_values, write_evaluation

FAST = GateParams(resamples=1000)


def evaluation(gain: float = 0.0, shift: dict[str, float] | None = None, name: str = "m") -> Evaluation:
    values = {task: found + (shift or {}).get(task, 0.0) for task, found in example_values(gain).items()}
    ids = {task: [f"{row:04}" for row in range(len(found))] for task, found in values.items()}
    return Evaluation(name, {task: float(v.mean()) for task, v in values.items()}, CATEGORIES, ids, values)


def test_a_better_candidate_is_promoted() -> None:
    verdict = decide(evaluation(0.03), evaluation(), params=FAST)
    assert verdict.promote
    assert verdict.interval["lower"] > 0
    assert verdict.mean_difference == pytest.approx(np.mean([task.difference for task in verdict.per_task]))
    assert "lower bound is above" in verdict.reasons[0]
    assert verdict.reasons[1] == "none of 4 tasks regresses beyond its margin"
    assert verdict.reasons[2] == "the A/A noise floor was not measured: 0 is taken"


def test_identical_models_are_held() -> None:
    verdict = decide(evaluation(), evaluation(), params=FAST)
    assert verdict.verdict == "hold"
    assert verdict.interval == {"level": 0.95, "lower": 0.0, "upper": 0.0}
    assert not any(task.regression for task in verdict.per_task)


def test_one_regressing_task_holds_a_better_mean() -> None:
    verdict = decide(evaluation(0.05, {"Facts": -0.1}), evaluation(), params=FAST)
    assert verdict.interval["lower"] > 0
    assert not verdict.promote
    assert [task.task for task in verdict.per_task if task.regression] == ["Facts"]
    assert verdict.reasons[1].startswith("Facts regresses by ")


def test_a_significant_drop_within_the_margin_is_no_regression() -> None:
    candidate = evaluation(0.0, {"Intent": -0.004})
    champion = evaluation(0.0)
    assert not any(task.regression for task in decide(candidate, champion, params=FAST).per_task)
    strict = decide(candidate, champion, params=GateParams(resamples=1000, regression_margin=0.001))
    assert [task.task for task in strict.per_task if task.regression] == ["Intent"]


@pytest.mark.parametrize(("drop", "regresses"), [(-0.003, False), (-0.02, True)])
def test_without_example_scores_a_drop_beyond_the_margin_regresses(drop: float, regresses: bool) -> None:
    sides = []
    for side in (evaluation(0.0, {"Facts": drop}), evaluation()):
        whole = {"Facts": np.array([side.scores["Facts"]])}
        sides.append(replace(side, values={**side.values, **whole}, ids={**side.ids, "Facts": ["the task's score"]}))
    verdict = decide(sides[0], sides[1], params=FAST)
    assert [task.task for task in verdict.per_task if task.regression] == ["Facts"] * regresses
    assert "no example scores of Facts: the difference counts, without a spread" in verdict.reasons


def test_the_noise_floor_widens_margins_and_raises_the_bar() -> None:
    floor = noise_floor(evaluation(), evaluation(0.0, {"Facts": 0.02, "Intent": -0.004}))
    assert floor.measured
    assert floor.mean == pytest.approx(0.004)
    assert floor.per_task == pytest.approx({"Answers": 0.0, "Facts": 0.02, "Intent": 0.004, "Topics": 0.0})
    candidate = evaluation(0.0, {"Answers": 0.01, "Facts": -0.02, "Intent": 0.01, "Topics": 0.01})
    plain, floored = decide(candidate, evaluation(), params=FAST), decide(candidate, evaluation(), floor, FAST)
    assert [task.task for task in plain.per_task if task.regression] == ["Facts"]
    assert not any(task.regression for task in floored.per_task)
    assert not floored.promote  # +0.25 points is surely above 0, but not above what noise alone does
    assert decide(evaluation(0.03), evaluation(), floor, FAST).promote


def test_minimum_gain_may_ask_for_more_or_for_no_worse() -> None:
    better, same = (evaluation(0.03), evaluation()), (evaluation(), evaluation())
    assert not decide(*better, params=GateParams(resamples=1000, minimum_gain=0.1)).promote
    assert decide(*same, params=GateParams(resamples=1000, minimum_gain=-0.001)).promote


def test_same_inputs_same_bytes() -> None:
    texts = {decide(evaluation(0.01), evaluation(), params=FAST).to_json() for _ in range(2)}
    assert len(texts) == 1
    assert set(json.loads(texts.pop())) >= {"verdict", "reasons", "mean_difference", "interval", "per_task"}


def test_command_line_writes_json_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = write_evaluation(tmp_path / "new", {"trained": example_values(0.03)})
    old = write_evaluation(tmp_path / "old", {"trained": example_values(0.0)})
    assert foundry("gate", str(new), str(old), "--out", str(tmp_path / "gate"), "--again", str(new)) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["verdict"] == "promote"
    assert (tmp_path / "gate" / "gate.json").read_text() == printed
    assert "promote" in (tmp_path / "gate" / "gate.html").read_text()
    assert foundry("gate", str(old), str(new)) == 3


def drop_task(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {task: found for task, found in values.items() if task != "Topics"}


def drop_example(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {task: found[:-1] if task == "Facts" else found for task, found in values.items()}


def spoil(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {task: np.where(np.arange(len(found)) == 3, np.nan, found) for task, found in values.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_task, "task Topics is only in trained of new"),
        (drop_example, "task Facts: example 'e119' is in one evaluation only"),
        (spoil, "field score: not a finite number"),
    ],
)
def test_inputs_that_cannot_be_compared_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable, said: str
) -> None:
    new = write_evaluation(tmp_path / "new", {"trained": example_values(0.03)})
    old = write_evaluation(tmp_path / "old", {"trained": change(example_values(0.0))})
    assert foundry("gate", str(new), str(old)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_a_missing_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("gate", str(tmp_path / "no"), str(tmp_path / "none")) == 1
    assert capsys.readouterr().err.count("\n") == 1
