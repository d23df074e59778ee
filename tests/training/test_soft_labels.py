"""Dense teachers: the stored vectors of a batch's rows, and which batches have them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from components.base.errors import UserError
from components.config.objectives import LabelObjective
from components.training.soft_labels import DenseTeachers, SoftLabels

SOFT = {"train.distillation": {"in_batch": {"teacher": "dense_teacher"}}}


@pytest.fixture
def vectors(training_tables: Path) -> dict[str, torch.Tensor]:
    """Random vectors of all queries and documents, stored as retrieve stores them."""
    draw = torch.Generator().manual_seed(0)
    sides = {name: torch.randn(48, 8, generator=draw).half() for name in ("queries", "documents")}
    folder = training_tables / "retrieve" / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(sides, folder / "dense_teacher.safetensors")
    return sides


def test_cosines_are_those_of_the_batch_s_rows(
    training_tables: Path, vectors: dict[str, torch.Tensor], make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer(**SOFT, **{"train.guide": {"teacher": "dense_teacher"}})
    teachers = DenseTeachers.load(training_tables, trainer.params)
    batch = next(batch for batch in map(trainer.batches.__getitem__, range(6)) if batch.task.name == "words")
    rows = [torch.tensor(side.astype("int64")) for side in (batch.queries, batch.documents)]
    expected = vectors["queries"].float()[rows[0]] @ vectors["documents"].float()[rows[1]].T
    found = teachers.of(batch).scores()
    assert found.soft is not None
    assert found.guide is not None
    assert torch.equal(found.soft, expected)
    assert torch.equal(found.guide, expected)
    assert teachers.of(dataclasses.replace(batch, graded=True)).scores() == (None, None)
    labelled = teachers.of(dataclasses.replace(batch, objective=LabelObjective()))
    assert labelled.soft is None
    assert labelled.guide is not None


@pytest.mark.slow
def test_soft_labels_change_what_is_learned(
    training_tables: Path, vectors: dict[str, torch.Tensor], make_trainer: Callable[..., Any], tmp_path: Path
) -> None:
    taught = make_trainer(work=tmp_path / "taught", **SOFT)
    taught.teachers = DenseTeachers.load(training_tables, taught.params)
    alone = make_trainer(work=tmp_path / "alone", **SOFT)
    curves = taught.fit(), alone.fit()
    first = next(row["step"] for row in curves[0] if row["task"] == "words")
    assert curves[0][first]["loss"] > curves[1][first]["loss"]  # a term more


def test_vectors_that_are_not_there_or_not_these_are_named(training_tables: Path, vectors: object) -> None:
    with pytest.raises(UserError, match=r"other.safetensors: missing; add other to retrieve.keep_vectors"):
        SoftLabels.load(training_tables, "other")
    save_file(
        {"queries": torch.zeros(48, 8), "documents": torch.zeros(47, 8)},
        training_tables / "retrieve" / "vectors" / "few.safetensors",
    )
    with pytest.raises(UserError, match="number of documents differs"):
        SoftLabels.load(training_tables, "few")
