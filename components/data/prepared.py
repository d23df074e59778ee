"""The rows of one prepared task."""

from dataclasses import dataclass, field

import polars as pl

from components.data.account import Account
from components.data.assign import SPLITS

CORPUS_ROWS = pl.Schema({"doc_id": pl.String(), "text": pl.String(), "label": pl.String(), "split": pl.String()})
QUERY_ROWS = pl.Schema({"query_id": pl.String(), "text": pl.String(), "split": pl.String(), "label": pl.String()})
QREL_ROWS = pl.Schema({"query_id": pl.String(), "doc_id": pl.String(), "relevance": pl.Float64()})
NEGATIVE_ROWS = pl.Schema({"query_id": pl.String(), "doc_id": pl.String()})
INSTRUCTION_ROWS = pl.Schema({"query_id": pl.String(), "instruction": pl.String()})
SCORE_ROWS = pl.Schema({"query_id": pl.String(), "doc_id": pl.String(), "score": pl.Float64()})


@dataclass
class Prepared:
    """Rows of one task, and its held-out evaluation tables by name.

    own_negatives: pairs of training queries that the source judges irrelevant. source_scores: the source's own teacher
    scores of pairs in qrels and own_negatives. instructions: those of training queries that the source brings.
    account: what was asked and given.
    """

    corpus: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CORPUS_ROWS))
    queries: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUERY_ROWS))
    qrels: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QREL_ROWS))
    own_negatives: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=NEGATIVE_ROWS))
    source_scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORE_ROWS))
    instructions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=INSTRUCTION_ROWS))
    benchmark: dict[str, pl.DataFrame] = field(default_factory=dict)
    account: Account = field(default_factory=lambda: Account(0, dict.fromkeys(SPLITS, 0)))

    def add(self, corpus: pl.DataFrame, queries: pl.DataFrame, qrels: pl.DataFrame) -> None:
        """Append rows; columns in any order."""
        self.corpus = pl.concat([self.corpus, corpus.select(*CORPUS_ROWS).cast(CORPUS_ROWS)])
        self.queries = pl.concat([self.queries, queries.select(*QUERY_ROWS).cast(QUERY_ROWS)])
        self.qrels = pl.concat([self.qrels, qrels.select(*QREL_ROWS).cast(QREL_ROWS)])
