"""Losses against their formulas written out with loops."""

import math

import pytest
import torch

from components.training.losses import (
    cosent,
    distillation_kl,
    in_batch_kl,
    info_nce,
    margin_mse,
    multi_positive_nce,
    ordered_pairs,
)
from components.training.losses import extra_negatives as extra
from components.training.masks import masked_documents, masked_further
from tests.training.batch_of_two import SCORES, TEMPERATURE, contrast, cross_entropy, targets


def test_info_nce_counts_every_document():
    assert contrast(targets()) == pytest.approx(cross_entropy([[0, 1, 2, 3]] * 2))


def test_a_suspicious_positive_counts_less():
    both = [contrast(targets(weight=weight)) for weight in ((1.0, 0.0), (0.0, 1.0))]
    assert contrast(targets(weight=(1.0, 0.25))) == pytest.approx((both[0] + 0.25 * both[1]) / 1.25)


def test_several_positives_share_the_numerator():
    given = targets(relevant=[(0, 3), (1, 0)], equal=[(1, 0)])  # query 1's own text is masked, and no positive
    masked = masked_documents(SCORES, given)
    expected = 0.0
    for i, positives, counted in ((0, [0, 3], [0, 1, 2, 3]), (1, [1], [1, 2, 3])):
        total = sum(math.exp(SCORES[i, j] / TEMPERATURE) for j in counted)
        logs = [math.log(math.exp(SCORES[i, p] / TEMPERATURE) / total) for p in positives]
        expected -= sum(logs) / len(logs) / 2
    assert multi_positive_nce(SCORES, given, masked, TEMPERATURE).item() == pytest.approx(expected)
    one = targets()
    plain = multi_positive_nce(SCORES, one, masked_documents(SCORES, one), TEMPERATURE)
    assert plain.item() == pytest.approx(contrast(one))


def test_further_negatives_join_the_denominator():
    similar = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    own = SCORES.diagonal()
    masked = masked_further(similar, targets().alike, own, margin=None)
    more = extra(similar, masked, TEMPERATURE)
    expected = 0.0
    for i in range(2):
        total = sum(math.exp(x / TEMPERATURE) for x in [*SCORES[i].tolist(), 0.6])
        expected -= math.log(math.exp(SCORES[i, i] / TEMPERATURE) / total) / 2
    given = targets()
    found = info_nce(SCORES, given, masked_documents(SCORES, given), TEMPERATURE, more)
    assert found.item() == pytest.approx(expected)
    assert masked_further(similar, targets().alike, own - 0.5, margin=0.1).all()  # 0.6 > 0.4 + 0.1


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
    alone = targets(group=((0,), (1,)))
    assert distillation_kl(SCORES, alone, TEMPERATURE, 1.0).item() == 0
    assert margin_mse(SCORES, alone).item() == 0


def test_margin_mse_compares_margins():
    expected = ((0.9 - 0.4 - 1.0) ** 2 + (0.9 - 0.95 - 1.5) ** 2 + (0.8 - 0.7 - 2.0) ** 2) / 3
    assert margin_mse(SCORES, targets()).item() == pytest.approx(expected)


def test_cosent_counts_every_pair_in_the_wrong_order():
    cosines, grades = torch.tensor([0.9, 0.2, 0.5]), torch.tensor([1.0, 3.0, 2.0])
    terms = [math.exp((0.9 - 0.2) / 0.1), math.exp((0.5 - 0.2) / 0.1), math.exp((0.9 - 0.5) / 0.1)]
    assert cosent(cosines, ordered_pairs(grades), 0.1).item() == pytest.approx(math.log(1 + sum(terms)), rel=1e-5)
