"""What training does not draw is no positive without negatives."""

import polars as pl

from components.mining.tally import Tally, collect_metrics


def test_positives_of_queries_that_were_not_scored_are_counted_apart() -> None:
    """Query 0 has two negatives, query 1 none left, query 2 was not scored."""
    candidates = pl.DataFrame(
        {"query": [0, 0, 1], "document": [5, 6, 7], "own": False, "reason": [None, None, "false_negative"]},
        schema_overrides={"query": pl.UInt32, "own": pl.Boolean, "reason": pl.String},
    )
    positives = pl.DataFrame({"query": [0, 1, 2, 2]}, schema={"query": pl.UInt32})
    triplets = positives.with_columns(negatives=pl.Series([[5, 6], [], [], []], dtype=pl.List(pl.UInt32)))
    tally = Tally()
    tally.add(candidates, positives, triplets, pl.DataFrame(schema={"action": pl.String}))
    metrics = collect_metrics({"task": tally})
    assert metrics["negatives_per_positive"] == 1.0  # of queries 0 and 1
    assert metrics["positives_without_negatives"] == 1
    assert (metrics["unscored_queries"], metrics["unscored_positives"], metrics["triplets"]) == (1, 2, 4)
