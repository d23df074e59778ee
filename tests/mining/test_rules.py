"""Each rule alone, the sign of the relative rule, and which reason is named when several refuse."""

import itertools

import polars as pl
import pytest

from components.config import MineParams
from components.mining.rules import REASONS, apply_rules
from components.mining.scale import with_values


def judge(rows: list[dict[str, object]], **params: object) -> list[tuple[str | None, float | None]]:
    rows = [{"value": row.get("score"), **row} for row in rows]
    plain = {
        "own": False,
        "rank": 5,
        "weakest": 0.8,
        "margin": 0.95,
        "same_label": False,
        "same_as_query": False,
        "duplicate": None,
    }
    frame = pl.DataFrame([{**plain, **row} for row in rows], schema_overrides={"duplicate": pl.Float64})
    judged = apply_rules(frame, MineParams.model_validate(params), "raw")
    return list(judged.select("reason", "threshold").iter_rows())


def reasons(rows: list[dict[str, object]], **params: object) -> list[str | None]:
    return [reason for reason, _ in judge(rows, **params)]


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


@pytest.mark.parametrize(
    ("positive", "raw_keeps", "probability_keeps"), [(8.0, 7.6, 2.94), (5.26, 5.0, 2.85), (0.05, 0.0475, -0.05)]
)
def test_on_logits_the_margin_means_something_as_a_probability_only(
    positive: float, raw_keeps: float, probability_keeps: float
) -> None:
    """Raw, 95 % of logit 8 keeps a negative of probability 0.9995; after the sigmoid, one of 0.95."""
    for scale, limit in (("raw", raw_keeps), ("probability", probability_keeps)):
        logits = pl.DataFrame({"reranker_score": [limit - 0.01, limit + 0.01, positive], "relevance": [0.0, 0.0, 0.0]})
        values = with_values(logits, scale)["value"].to_list()
        rows = [{"value": value, "weakest": values[-1]} for value in values[:-1]]
        assert reasons(rows) == [None, "false_negative"], scale


def test_calibrated_relevance_is_a_scale_of_its_own() -> None:
    scores = pl.DataFrame({"reranker_score": [8.0], "relevance": [0.25]})
    assert with_values(scores, "relevance")["value"].to_list() == [0.25]


def test_keep_switches_the_relative_rule_off() -> None:
    assert reasons([{"score": 0.79}], false_negatives="keep") == [None]
