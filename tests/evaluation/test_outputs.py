"""`evaluate.outputs`: the trained model's vectors in smaller forms, scored without embedding a text again."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.config import EvaluateParams
from components.contracts.tasks import read_tasks, write_tasks
from components.evaluation import evaluate
from components.evaluation.outputs import outputs_table
from components.evaluation.table import print_table
from tests.evaluation.fakes import HashEncoder
from tests.evaluation.test_evaluate import context, write_outputs

OUTPUTS = ["float32", "int8", "binary", "dim6"]
TASKS = ("find", "alike")


class Reading(HashEncoder):
    """Its reader knows the vectors that were asked for before, as a vector store does, and nothing else."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.stored: dict[tuple[str, str], np.ndarray] = {}
        self.reads = False

    def reader(self) -> "Reading":
        other = Reading(self.seed)
        other.stored, other.reads = self.stored, True
        return other

    def _encode(self, texts: Any, prompt: str) -> np.ndarray:
        if self.reads:
            return np.array([self.stored[prompt, text] for text in texts])
        vectors = super()._encode(texts, prompt)
        self.stored |= {(prompt, text): vector for text, vector in zip(texts, vectors, strict=True)}
        return vectors


HELD = {seed: Reading(seed) for seed in range(3)}


@dataclass(frozen=True)
class Held:
    seed: int

    def load(self) -> Reading:
        return HELD[self.seed]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """(folder, metrics) of a run with every form. Do not write to it."""
    root = tmp_path_factory.mktemp("outputs")
    write_outputs(root / "outputs")
    tasks = root / "outputs" / "prepare" / "benchmark" / "tasks.yaml"
    write_tasks([task for name, task in read_tasks(tasks).items() if name in TASKS], tasks)
    run = context(root, "run")
    params = run.config.evaluate.model_copy(update={"outputs": OUTPUTS})
    run = replace(run, config=run.config.model_copy(update={"evaluate": params}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "_source", lambda name, _: Held(evaluate.MODELS.index(name)))
        return run.out, evaluate.run(run)


@pytest.mark.slow
def test_every_form_is_scored_and_its_cost_is_the_difference(ended: tuple[Path, dict[str, float]]) -> None:
    out, metrics = ended
    rows = {row["output"]: row for row in json.loads((out / "table.json").read_text())["outputs"]}
    assert [(name, row["bytes"]) for name, row in rows.items()] == [
        ("float32", 192), ("int8", 48), ("binary", 6), ("dim6", 24)
    ]  # fmt: skip
    scores = pl.read_parquet(out / "outputs" / "scores.parquet")
    assert set(scores["model"]) == set(OUTPUTS[1:])
    full = pl.read_parquet(out / "scores.parquet").filter(model="trained")["score"].mean()
    for name in OUTPUTS[1:]:
        mean = scores.filter(model=name)["score"].mean()
        assert rows[name]["mean"] == metrics[f"trained.{name}.mean"] == pytest.approx(mean, abs=1e-6)
        assert metrics[f"trained.{name}.difference"] == pytest.approx(mean - full, abs=1e-6)
        assert rows[name]["low"] <= rows[name]["difference"] <= rows[name]["high"]
    assert abs(rows["int8"]["difference"]) < 0.02
    assert rows["dim6"]["difference"] < -0.05
    assert metrics["trained.float32.mean"] == metrics["trained.mean"]


def test_the_page_and_the_table_show_them(
    ended: tuple[Path, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = ended
    section = (out / "report.html").read_text().split("<h2>Smaller vectors</h2>")[1].split("<h2>")[0]
    assert section.count("<tr><td") == len(OUTPUTS)
    print_table(out)
    said = capsys.readouterr().out
    assert "trained as int8, 48 bytes a vector: " in said
    assert "[" in said.split("trained as binary")[1].split("\n")[0]


def test_no_text_is_embedded_for_them(ended: tuple[Path, dict[str, float]]) -> None:
    out, _ = ended  # the reader has stored vectors only: a text that was not embedded before is a KeyError
    assert json.loads((out / "cost.json").read_text()).keys() == {"base", "trained", "teacher"}


def test_a_task_with_other_examples_counts_without_a_spread(tmp_path: Path) -> None:
    for folder, model, ids in ((tmp_path, "trained", ["0", "1", "2"]), (tmp_path / "outputs", "binary", ["0", "1"])):
        folder.mkdir(exist_ok=True)
        named = {"model": [model], "task": ["summary"]}
        score = pl.DataFrame({**named, "category": ["Summarization"], "metric": ["cosine_spearman"], "score": [0.5]})
        score.write_parquet(folder / "scores.parquet")
        rows = {name: values * len(ids) for name, values in named.items()}
        examples = {"example_id": ids, "score": [0.5] * len(ids), "replicate": [0] * len(ids)}
        pl.DataFrame({**rows, **examples}).write_parquet(folder / "examples.parquet")
    (_, row) = outputs_table(["float32", "binary"], tmp_path, 48, seed=0)
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["int8"], "float32 must come first"),
        (["float32", "int8", "int8"], "int8 is named twice"),
        (["float32", "int4"], "should match pattern"),
        (["float32", "dim0"], "should match pattern"),
    ],
)
def test_what_is_no_list_of_forms_is_refused(outputs: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EvaluateParams(outputs=outputs)


def test_more_dimensions_than_the_model_has_are_refused_before_the_first_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_outputs(tmp_path / "outputs")
    run = context(tmp_path, "run")
    params = run.config.evaluate.model_copy(update={"outputs": ["float32", "dim256"]})
    run = replace(run, config=run.config.model_copy(update={"evaluate": params}))
    monkeypatch.setattr(evaluate, "_source", lambda name, _: Held(evaluate.MODELS.index(name)))
    with pytest.raises(UserError, match="dim256: the model has 48 dimensions"):
        evaluate.run(run)
    assert not list(run.work.iterdir())
