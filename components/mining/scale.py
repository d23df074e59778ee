"""The scale on which margins and limits act: `value` of a pair, from its raw teacher score.

A relative margin means something where 0 means "irrelevant". Cosines are such a scale (NV-Retriever, arXiv 2407.15831,
measured its 95 % on them). A reranker's logit is not: 95 % of logit 8.0 is 7.6, still a probability of 0.9995. Logits
therefore go through the sigmoid first, as sentence-transformers does for its relative margin
(util/hard_negatives.py: the cross-encoder's default activation). `relevance` is the calibrated probability of the score
stage. All three grow with the raw score, so the order of candidates is the same; the files keep the raw scores.
"""

import polars as pl

from components.config.mining import Scale


def with_values(scores: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    """Add `value` to teacher scores (reranker_score, relevance).

    >>> frame = pl.DataFrame({"reranker_score": [8.0, 0.0], "relevance": [0.9, 0.1]})
    >>> with_values(frame, "probability")["value"].round(4).to_list()
    [0.9997, 0.5]
    """
    raw = pl.col("reranker_score")
    values = {"raw": raw, "relevance": pl.col("relevance"), "probability": 1.0 / (1.0 + (-raw).exp())}
    return scores.with_columns(value=values[scale])
