"""The loss of a kind of task: the terms it has, and those it does not."""

from typing import Any

import pytest
import torch

from components.base.errors import UserError
from components.config import parse_config
from components.config.objectives import ObjectivesParams
from components.config.training import GuideParams
from components.contracts.tasks import Task
from components.training import losses
from components.training.batches import Batch, Batches
from components.training.masks import mask_by_guide, masked_documents, masked_further
from components.training.objectives import DenseScores, objective_of
from tests.samples import small_parameters
from tests.training.made_data import examples_of, training_data

NONE = DenseScores()
SOFT = {"weight": 0.5, "in_batch": {"teacher": "dense_teacher", "weight": 2.0, "temperature": 0.1}}


def made(kind: str, grades: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0), **changes: Any) -> tuple[Batch, Any]:
    """A batch of a task of this kind, four queries with a positive and two mined negatives, and the parameters."""
    examples = examples_of([(i, 3 * i, (3 * i + 1, 3 * i + 2)) for i in range(4)])
    task = Task("task", kind, "Do it.", False, 1.0, "none", "test")
    texts = [f"question {i}" for i in range(4)], [f"answer {i}" for i in range(12)]
    data = training_data(task, examples, *texts, grades)
    params = parse_config(small_parameters(**{"train.distillation": SOFT, **changes}), "test").train
    return Batches(data, params, seed=0)[0], params


def scores_of(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shape = len(batch.query_texts), len(batch.documents)
    return torch.rand(shape, generator=draw), torch.rand(shape, generator=draw)


def objective(scores: torch.Tensor, batch: Batch, params: Any, dense: DenseScores = NONE) -> torch.Tensor:
    """The loss of vectors whose cosines are `scores`."""
    return objective_of(scores, torch.eye(scores.shape[1]), batch.targets, batch, params, dense)


def contrast(scores: torch.Tensor, batch: Batch, params: Any, in_batch: bool = True) -> torch.Tensor:
    masked = masked_documents(scores, batch.targets, margin=params.false_negative_margin, in_batch=in_batch)
    return losses.info_nce(scores, batch.targets, masked, 0.02)


@pytest.mark.parametrize(
    ("kind", "in_batch", "distilled"),
    [
        ("retrieval", True, True),
        ("reranking", True, True),
        ("classification", False, False),
        ("clustering", False, False),
        ("pair_classification", True, False),
        ("sts", True, False),  # one grade only
        ("summarization", True, False),
    ],
)
def test_each_kind_has_the_terms_of_bge_en_icl(kind: str, in_batch: bool, distilled: bool) -> None:
    batch, params = made(kind)
    scores, teacher = scores_of(batch)
    expected = contrast(scores, batch, params, in_batch)
    if distilled:
        expected = expected + 0.5 * losses.distillation_kl(scores, batch.targets, 0.02, 1.0)
        expected = expected + 2.0 * losses.in_batch_kl(scores, teacher, 0.02, 0.1)
    assert batch.objective.in_batch_distillation == distilled  # the trainer asks the teacher only then
    found = objective(scores, batch, params, DenseScores(teacher if distilled else None))
    torch.testing.assert_close(found, expected)


def test_a_term_is_switched_by_kind() -> None:
    off, params = made("retrieval", **{"train.objectives": {"retrieval": {"distillation": False}}})
    scores, _ = scores_of(off)
    torch.testing.assert_close(objective(scores, off, params), contrast(scores, off, params))
    bare, _ = made("retrieval", **{"train.objectives": {"retrieval": {"distillation": False, "hard_negatives": False}}})
    assert set(bare.documents.tolist()) == {0, 3, 6, 9}


def test_graded_pairs_rank_by_their_own_grades_and_encode_no_negatives() -> None:
    batch, params = made("sts", grades=(0.0, -1.0, 5.0, 0.0))
    assert batch.graded
    assert set(batch.documents.tolist()) == {0, 3, 6, 9}
    assert sorted(batch.grades.tolist()) == [-1.0, 0.0, 0.0, 5.0]
    scores, _ = scores_of(batch)
    expected = losses.cosent(scores.diagonal(), losses.ordered_pairs(batch.grades), 0.02)
    torch.testing.assert_close(objective(scores, batch, params), expected)
    no_cosent = {"train.objectives": {"sts": {"cosent": False}}}
    assert not made("sts", grades=(1.0, 5.0, 5.0, 5.0), **no_cosent)[0].graded
    with pytest.raises(UserError, match="task task: has pairs of grade 0 and no CoSENT"):
        made("sts", grades=(0.0, 5.0, 5.0, 5.0), **no_cosent)


def test_options_of_the_contrast_are_off_by_default_and_change_the_loss() -> None:
    batch, params = made("retrieval", **{"train.distillation": {"weight": 0.0}, "train.temperature": 0.5})
    draw, targets = torch.Generator().manual_seed(0), batch.targets
    shapes = (len(batch.query_texts), 8), (len(batch.documents), 8)
    queries, documents = (torch.nn.functional.normalize(torch.randn(s, generator=draw), dim=-1) for s in shapes)
    scores, guide = queries @ documents.T, scores_of(batch)[1]
    masked = masked_documents(scores, targets, margin=0.1)

    def told(**changes: Any) -> torch.Tensor:
        changed = params.model_copy(update=changes)
        return objective_of(queries, documents, targets, batch, changed, DenseScores(guide=guide))

    plain = losses.info_nce(scores, targets, masked, 0.5)
    torch.testing.assert_close(told(), plain)
    by_guide = masked | mask_by_guide(guide, targets, 0.1)
    found = told(guide=GuideParams(teacher="dense_teacher", margin=0.1))
    torch.testing.assert_close(found, losses.info_nce(scores, targets, by_guide, 0.5))
    assert found < plain
    own = scores.gather(1, targets.positive[:, None])[:, 0]
    for option, of, known in (
        ("query_negatives", queries @ queries.T, targets.alike),
        ("document_negatives", documents[targets.positive] @ documents.T, targets.answers),
    ):
        more = losses.extra_negatives(of, masked_further(of, known, own, 0.1), 0.5)
        torch.testing.assert_close(told(**{option: True}), losses.info_nce(scores, targets, masked, 0.5, more))
        assert told(**{option: True}) > plain
    several = losses.multi_positive_nce(scores, targets, masked, 0.5)
    torch.testing.assert_close(told(multi_positive=True), several)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"retrieval": {"hard_negatives": False}}, "distillation compares the scores of hard negatives"),
        ({"sts": {"hard_negatives": False, "in_batch_negatives": False}}, "no negatives and no soft labels"),
    ],
)
def test_an_objective_that_teaches_nothing_is_refused(objective: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectivesParams.model_validate(objective)


def test_a_kind_of_local_negatives_without_any_is_named() -> None:
    with pytest.raises(UserError, match="task task: clustering learns from hard negatives alone, and it has none"):
        made("clustering", **{"train.negatives": 0})
