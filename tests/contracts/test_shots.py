"""shots.yaml: read as it was written; a file that does not fit is named in one line."""

from pathlib import Path

import pytest
import yaml

from components.base.errors import UserError
from components.contracts.shots import (
    ChosenShots,
    EvaluatedPrompt,
    Shot,
    TaskPrompt,
    TrainedPrompt,
    count_prompts,
    read_prompts,
    read_shots,
    write_prompts,
    write_shots,
)


def test_read_as_written(tmp_path: Path) -> None:
    shots = (Shot("is ice hot: no?", "It is not.\nNever."), Shot("yes", "wärmer"))
    trained = {
        "boolq": TrainedPrompt(TaskPrompt("Find", symmetric=True, shots=shots), ("BoolQ", "Other")),
        "none": TrainedPrompt(TaskPrompt("F")),
    }
    scores = {"dev_scores": {0: 0.5, 2: 0.6}}
    chosen = {
        "boolq": ChosenShots("diverse", trained["boolq"], scores),
        "none": ChosenShots("none", trained["none"]),
    }
    write_shots(chosen, tmp_path / "shots.yaml")
    assert read_shots(tmp_path / "shots.yaml") == trained
    entry = yaml.safe_load((tmp_path / "shots.yaml").read_text(encoding="utf-8"))["boolq"]
    assert entry["number"] == 2
    assert entry["dev_scores"] == {0: 0.5, 2: 0.6}


def test_number_says_how_many_examples_are_used(tmp_path: Path) -> None:
    """And a file of an earlier version, without `serves` and `symmetric`, can be read."""
    examples = "[{query: a, response: b}, {query: c, response: d}]"
    (tmp_path / "shots.yaml").write_text(f"t: {{number: 1, instruction: Find, examples: {examples}}}")
    assert read_shots(tmp_path / "shots.yaml") == {"t": TrainedPrompt(TaskPrompt("Find", shots=(Shot("a", "b"),)))}


def test_evaluated_prompts_are_read_as_written(tmp_path: Path) -> None:
    prompt = TaskPrompt("Find", symmetric=True, shots=(Shot("a", "b"),))
    table = {"ArguAna": EvaluatedPrompt(prompt, "arguana", "selection", seen=True)}
    write_prompts(table, tmp_path / "prompts.yaml")
    assert read_prompts(tmp_path / "prompts.yaml") == {"ArguAna": prompt}
    assert count_prompts(table)["zero_shot"] == 0


def test_no_task_got_shots(tmp_path: Path) -> None:
    (tmp_path / "shots.yaml").write_text("{}\n")
    assert read_shots(tmp_path / "shots.yaml") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing; run the select_shots stage"),
        ("a: [", "no YAML: .*; run the select_shots stage again$"),
        ("- a", "holds no entries by task"),
        ("boolq: {number: 1}", "task boolq: malformed entry"),
        ("boolq: 3", "task boolq: malformed entry"),
        ("boolq: {number: 1, examples: [{query: a}]}", "task boolq: malformed entry"),
        ("boolq: {number: 2, instruction: F, examples: [{query: a, response: b}]}", "number is 2 of 1 examples"),
        ("boolq: {number: -1, instruction: F, examples: [{query: a, response: b}]}", "number is -1 of 1 examples"),
        ("boolq: {number: 1, instruction: F, examples: [{query: a, response: 7}]}", "query or response is no text"),
        ("boolq: {number: 0, examples: []}", "malformed entry .*instruction"),
        ("boolq: {number: 0, instruction: 3, examples: []}", "instruction is no text"),
        ("boolq: {number: 0, instruction: F, serves: ArguAna, examples: []}", "serves is no list"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "shots.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_shots(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
