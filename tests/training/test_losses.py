"""Losses against their formulas written out with loops."""

import math

import pytest
import torch

from components.training.losses import Targets, cosent, distillation_kl, in_batch_kl, info_nce, margin_mse

SCORES = torch.tensor([[0.9, 0.2, 0.4, 0.95], [0.1, 0.8, 0.3, 0.7]], dtype=torch.float64)
TEMPERATURE = 0.1


def targets(relevant=()) -> Targets:
    known = torch.zeros(2, 4, dtype=torch.bool)
    for i, j in relevant:
        known[i, j] = True
    return Targets(
        positive=torch.tensor([0, 1]),
        group=torch.tensor([[0, 2, 3], [1, 3, -1]]),
        teacher=torch.tensor([[2.0, 1.0, 0.5], [3.0, 1.0, 0.0]], dtype=torch.float64),
        relevant=known,
    )


def cross_entropy(kept: list[list[int]]) -> float:
    losses = []
    for i, documents in enumerate(kept):
        own = math.exp(SCORES[i, i] / TEMPERATURE)
        losses.append(-math.log(own / sum(math.exp(SCORES[i, j] / TEMPERATURE) for j in documents)))
    return sum(losses) / len(losses)


def test_info_nce_counts_every_document():
    assert info_nce(SCORES, targets(), TEMPERATURE).item() == pytest.approx(cross_entropy([[0, 1, 2, 3]] * 2))


def test_known_relevant_documents_are_no_negatives_but_the_positive_stays():
    loss = info_nce(SCORES, targets(relevant=[(0, 3), (0, 0)]), TEMPERATURE)
    assert loss.item() == pytest.approx(cross_entropy([[0, 1, 2], [0, 1, 2, 3]]))


def test_without_in_batch_negatives_only_the_own_group_counts():
    loss = info_nce(SCORES, targets(), TEMPERATURE, in_batch=False)
    assert loss.item() == pytest.approx(cross_entropy([[0, 2, 3], [1, 3]]))
    alone = Targets(torch.tensor([0, 1]), torch.tensor([[0, 2], [1, -1]]), torch.ones(2, 2), torch.zeros(2, 4).bool())
    assert info_nce(SCORES, alone, TEMPERATURE, in_batch=False).item() == pytest.approx(cross_entropy([[0, 2], [1]]))


def test_likely_false_negatives_are_masked():
    loss = info_nce(SCORES, targets(), TEMPERATURE, false_negative_margin=0.01)
    assert loss.item() == pytest.approx(cross_entropy([[0, 1, 2], [0, 1, 2, 3]]))


def test_distillation_is_cross_entropy_from_the_teacher_over_the_own_group():
    expected = 0.0
    for i, group in enumerate(([0, 2, 3], [1, 3])):
        teacher = torch.softmax(targets().teacher[i, : len(group)] / 2.0, 0)
        student = torch.log_softmax(SCORES[i, group] / TEMPERATURE, 0)
        expected -= float((teacher * student).sum()) / 2
    assert distillation_kl(SCORES, targets(), TEMPERATURE, 2.0).item() == pytest.approx(expected)


def test_in_batch_distillation_is_cross_entropy_from_the_teacher_over_every_document():
    teacher = SCORES.flip(0)
    expected = 0.0
    for i in range(2):
        labels = [math.exp(float(x) / 0.5) for x in teacher[i]]
        odds = [math.exp(float(x) / TEMPERATURE) for x in SCORES[i]]
        for label, odd in zip(labels, odds, strict=True):
            expected -= label / sum(labels) * math.log(odd / sum(odds)) / 2
    assert in_batch_kl(SCORES, teacher, TEMPERATURE, 0.5).item() == pytest.approx(expected)


def test_a_group_without_negatives_teaches_nothing_by_distillation():
    alone = Targets(torch.tensor([0, 1]), torch.tensor([[0], [1]]), torch.ones(2, 1), torch.zeros(2, 4).bool())
    assert distillation_kl(SCORES, alone, TEMPERATURE, 1.0).item() == 0
    assert margin_mse(SCORES, alone).item() == 0


def test_margin_mse_compares_margins():
    expected = ((0.9 - 0.4 - 1.0) ** 2 + (0.9 - 0.95 - 1.5) ** 2 + (0.8 - 0.7 - 2.0) ** 2) / 3
    assert margin_mse(SCORES, targets()).item() == pytest.approx(expected)


def test_cosent_counts_every_pair_in_the_wrong_order():
    cosines, grades = torch.tensor([0.9, 0.2, 0.5]), torch.tensor([1.0, 3.0, 2.0])
    terms = [math.exp((0.9 - 0.2) / 0.1), math.exp((0.5 - 0.2) / 0.1), math.exp((0.9 - 0.5) / 0.1)]
    assert cosent(cosines, grades, 0.1).item() == pytest.approx(math.log(1 + sum(terms)), rel=1e-5)
