"""Scales of margins: raw scores, probabilities and calibrated relevance."""

import polars as pl
import pytest

from components.mining.scale import with_values
from tests.mining.rows import reasons


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
