"""What the tests of prepare share: words for made-up texts, and a reader of what the stage wrote."""

from pathlib import Path

import polars as pl

from components.base.overlap import normalise
from components.contracts.tables import CORPUS, QRELS, QUERIES, read_table
from tests.samples import with_ids

ANIMALS = ["kite", "otter", "lynx", "heron", "badger", "newt", "stoat", "adder", "raven", "hare"]
PLACES = ["Wales", "Sweden", "Spain", "Norway", "Poland", "Italy", "Greece", "Malta"]


def same(text: str) -> str:
    """The form in which prepare keeps splits apart."""
    return normalise(text, punctuation=True)


class Outputs:
    """What prepare wrote."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "outputs" / "prepare"
        self.corpus = read_table(self.folder / "corpus.parquet", CORPUS)
        self.queries = read_table(self.folder / "queries.parquet", QUERIES)
        self.qrels = with_ids(read_table(self.folder / "qrels.parquet", QRELS), self.folder)

    def benchmark(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "benchmark" / f"{name}.parquet")

    def frame(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def texts(self) -> set[str]:
        return {same(text) for frame in (self.corpus, self.queries) for text in frame["text"]}
