"""Scores of the tables before: a pair of texts keeps its score when rows are added, removed or renumbered.

Scores are kept by row (components/teacher/rescoring.py), in a folder for each state of the two tables. A folder that is
new takes the scores of the newest other state, by the digests of the texts: an update scores new pairs only. Two
digests and a row a text are in memory, and the scores of one block of queries at a time.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from components.base.files import whole_file
from components.contracts.texts import Texts
from components.teacher.pairs import Block, DistinctRows, Pairs

log = logging.getLogger(__name__)


def carry_scores(folder: Path, pairs: Pairs, blocks: Sequence[Block], cache: Path) -> None:
    """Fill `folder` from its newest neighbour, unless it is there already."""
    earlier = _newest(folder, cache)
    if folder.exists() or earlier is None:
        return
    partial = folder.with_name(f".{uuid.uuid4().hex}")
    partial.mkdir()
    number = 0
    for block, scores in _moved_scores(earlier, pairs, blocks, cache):
        number += len(scores)
        _add(scores, partial / f"{block.name}.arrow")
    try:
        partial.rename(folder)
    except OSError:  # another run has filled it in the meantime
        shutil.rmtree(partial)
    log.info("%s pairs keep the score of an earlier run", f"{number:,}")


def _newest(folder: Path, cache: Path) -> Path | None:
    """The neighbour that was written last and whose texts are still there."""
    others = folder.parent.glob("[0-9a-f]*-*") if folder.parent.exists() else ()
    known = [one for one in others if one != folder and all(file.exists() for file in _texts_of(one, cache))]
    return max(known, key=lambda one: one.stat().st_mtime_ns, default=None)


def _texts_of(folder: Path, cache: Path) -> list[Path]:
    """The files of the queries' and documents' texts, which name the folder."""
    return [cache / "texts" / f"{name}.arrow" for name in folder.name.split("-")]


def _moved_scores(
    earlier: Path, pairs: Pairs, blocks: Sequence[Block], cache: Path
) -> Iterator[tuple[Block, pl.DataFrame]]:
    """(block, query, document, score) under today's rows."""
    before = [_numbered(Texts(file), 0) for file in _texts_of(earlier, cache)]
    for task, own in groupby(blocks, lambda block: block.task):
        places = list(own)
        rows = pairs.rows(task)
        queries = _moves(before[0], pairs.queries, rows.queries)
        documents = _moves(before[1], pairs.documents, rows.documents)
        for file in sorted(earlier.glob("*.arrow")):
            start, stop = map(int, file.stem.split("-"))
            asked = queries.filter(pl.col("before").is_between(start, stop, closed="left"))
            if asked.is_empty():
                continue
            scores = (
                pl.read_ipc(file)
                .join(asked.rename({"before": "query", "now": "own"}), on="query")
                .join(documents.rename({"before": "document", "now": "found"}), on="document")
                .select(query="own", document="found", score="score")
            )
            for block in places:
                part = scores.filter(pl.col("query").is_between(block.start, block.stop, closed="left"))
                if len(part):
                    yield block, part


def _moves(before: pl.DataFrame, texts: Texts, side: DistinctRows) -> pl.DataFrame:
    """before, now: the rows of the texts that both tables have; now: of the task, the first with its text."""
    stop = side.start + len(side.first)
    own = side.first == np.arange(side.start, stop)
    now = _numbered(texts, side.start, stop).filter(pl.Series(own)).rename({"row": "now"})
    return before.join(now, on=["high", "low"]).select(before="row", now="now")


def _numbered(texts: Texts, start: int, stop: int | None = None) -> pl.DataFrame:
    """row, high, low of a range of texts."""
    return texts.digests(start, len(texts) if stop is None else stop).with_row_index("row", offset=start)


def _add(scores: pl.DataFrame, file: Path) -> None:
    """Put scores into a file; one that was there stays."""
    known = pl.read_ipc(file) if file.exists() else scores.clear()
    new = scores.unique(["query", "document"], keep="first", maintain_order=True)
    with whole_file(file) as partial:
        pl.concat([known, new.join(known, on=["query", "document"], how="anti")]).write_ipc(partial)
