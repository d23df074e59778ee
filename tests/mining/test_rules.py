"""Each rule alone, the sign of the relative rule, and which reason is named when several refuse."""

import itertools

import pytest

from components.mining.rules import REASONS
from tests.mining.rows import judge, reasons


def test_relative_margin_keeps_below_95_percent() -> None:
    found = judge([{"score": 0.7599}, {"score": 0.7601}, {"score": 0.9}])
    assert [reason for reason, _ in found] == [None, "false_negative", "false_negative"]
    assert found[1][1] == pytest.approx(0.76)


def test_a_score_at_the_threshold_is_refused() -> None:
    assert reasons([{"score": 0.5, "weakest": 0.5, "margin": 1.0}]) == ["false_negative"]


def test_negative_positive_scores_have_their_threshold_below_them() -> None:
    rows = [{"score": -0.8, "weakest": -0.8}, {"score": -0.83, "weakest": -0.8}, {"score": -0.85, "weakest": -0.8}]
    assert reasons(rows) == ["false_negative", "false_negative", None]
    logits = [{"score": -7.4, "weakest": -7.0}, {"score": -7.3, "weakest": -7.0}]
    assert reasons(logits) == [None, "false_negative"]


def test_the_relative_rule_is_monotone_through_zero() -> None:
    thresholds = [judge([{"score": -9.0, "weakest": w / 10}])[0][1] for w in range(-10, 11)]
    assert all(a is not None and b is not None and a < b for a, b in itertools.pairwise(thresholds))


def test_absolute_margin() -> None:
    rows = [{"score": 0.59, "margin": 1.0}, {"score": 0.61, "margin": 1.0}]
    assert judge(rows, absolute_margin=0.2)[1] == ("absolute_margin", pytest.approx(0.6))
    assert reasons(rows, absolute_margin=0.2)[0] is None


def test_caps_on_both_sides() -> None:
    rows = [{"score": 0.1}, {"score": 0.4}, {"score": 0.7}]
    assert reasons(rows, max_score=0.6, min_score=0.2) == ["too_easy", None, "max_score"]


def test_rank_window() -> None:
    rows = [{"score": 0.3, "rank": rank} for rank in (1, 2, 10, 11)]
    assert judge(rows, first_rank=2, last_rank=10) == [
        ("rank_window", 2.0),
        (None, pytest.approx(0.76)),
        (None, pytest.approx(0.76)),
        ("rank_window", 10.0),
    ]


def test_facts_come_before_scores() -> None:
    rows = [
        {"score": 0.9, "same_label": True, "duplicate": 0.7},
        {"score": 0.9, "same_as_query": True},
        {"score": 0.9, "duplicate": 0.7},
    ]
    assert reasons(rows) == ["same_label", "same_as_query", "duplicate_of_positive"]


def test_every_reason_is_explained() -> None:
    named = {"same_label", "same_as_query", "duplicate_of_positive", "rank_window", "relabelled"}
    named |= {"false_negative", "absolute_margin", "max_score", "too_easy"}
    assert set(REASONS) == named


def test_keep_switches_the_relative_rule_off() -> None:
    assert reasons([{"score": 0.79}], false_negatives="keep") == [None]
