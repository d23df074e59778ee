"""Teacher scores of many pairs of rows, in shards that survive a kill.

A shard is a range of rows of a file of pairs; the worker reads the texts itself. The scores of a block are one file in
the cache. With another choice of queries, or with added rows (carried_scores.py), only the pairs that are new are
scored. Where the pairs of a document are scored together, their last bits depend on each other: a block's file serves
the very same pairs only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.files import whole_file
from components.base.hashing import content_hash, file_hash, json_hash
from components.base.progress import progress
from components.config import EngineParams, ScoreParams, SecondTeacherParams
from components.contracts.tables import name_of_row
from components.contracts.texts import Texts
from components.model.locate import locate_model
from components.stage.executor import run_shards
from components.teacher.pairs import Block, Pairs

PAIRS_A_SHARD = 4096
BY_DOCUMENT = 4  # times as many pairs in a shard by document: each shard reads the token vectors of its queries
_NO_MATTER = {"calibration", "engine", "queries", "source_scores", "second", "weight"}  # do not decide a score
_SCHEMA = {"query": pl.UInt32, "document": pl.UInt32, "score": pl.Float32}


class PairScorer(Protocol):
    """A scorer of pairs of texts, as plain values that can be sent to a worker."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray: ...


@dataclass(frozen=True)
class Rescoring:
    """Scores the pairs of blocks.

    Attributes:
        by_document: the pairs of a document are scored together.
        scores: folder of the scores, a file a block.
        prepared: outputs/prepare, whose ids an error names; model: its name in an error.
    """

    pairs: Pairs
    scorer: PairScorer
    by_document: bool
    scores: Path
    work: Path
    prepared: Path
    model: str

    def run(self, blocks: Sequence[Block], what: str, engine: EngineParams, threads: int) -> None:
        """Score what has no score yet. Raises UserError when a score is not finite."""
        shards, texts = [], (self.pairs.queries, self.pairs.documents)
        for block in progress(blocks, "score: pairs", unit="block"):
            ranges = list(self._shards(block))
            if self._is_scored(block):
                continue
            for start, stop in ranges:
                file = self._shard_file(block, start)
                if not file.exists():
                    shards.append((file, self.scorer, self._pairs_file(block), start, stop, *texts))
        run_shards(score_shard, shards, what, engine, threads)
        for block in progress(blocks, "score: join", unit="block"):
            self._collect(block)

    def table(self, block: Block) -> pl.DataFrame:
        """query, document, positive, reranker_score (float64) of all pairs of a block; sorted."""
        score = pl.coalesce("given", pl.col("score").cast(pl.Float64))
        return self.scored(block).select("query", "document", "positive", reranker_score=score)

    def scored(self, block: Block) -> pl.DataFrame:
        """query, document, positive, score (float32), given (float64: a source's own score); sorted."""
        scores = self._known(block).rename({"query": "first_query", "document": "first_document"})
        joined = self.pairs.table(block).join(
            scores, on=["first_query", "first_document"], how="left", maintain_order="left"
        )
        given = self.pairs.given_of(block).rename({"score": "given"})
        joined = joined.join(given, on=["query", "document"], how="left", maintain_order="left")
        return joined.select("query", "document", "positive", "score", "given")

    def _pairs_file(self, block: Block) -> Path:
        return self.work / "pairs" / f"{block.name}.arrow"

    def _shard_file(self, block: Block, start: int) -> Path:
        return self.work / "scores" / f"{block.name}-{start:09d}.npy"

    def _scores_file(self, block: Block) -> Path:
        own = f"-{file_hash(self._pairs_file(block))[:32]}" if self.by_document else ""
        return self.scores / f"{block.name}{own}.arrow"

    def _is_scored(self, block: Block) -> bool:
        """Whether the kept scores have all pairs of a block, whose file of pairs is there."""
        if not self._scores_file(block).exists():
            return False
        return self.by_document or pl.read_ipc(self._pairs_file(block)).is_empty()

    def _known(self, block: Block) -> pl.DataFrame:
        file = self._scores_file(block)
        return pl.read_ipc(file) if file.exists() else pl.DataFrame(schema=_SCHEMA)

    def _shards(self, block: Block) -> Iterator[tuple[int, int]]:
        """(start, stop) of each shard in the block's file of pairs, which is written unless a killed run left it."""
        file = self._pairs_file(block)
        if not file.exists():
            known = None if self.by_document or not self._scores_file(block).exists() else self._known(block)
            with whole_file(file) as partial:
                self.pairs.distinct(block, known, self.by_document).write_ipc(partial)
        documents = pl.read_ipc(file, columns=["document"])["document"].to_numpy()
        borders = np.flatnonzero(np.diff(documents)) + 1 if self.by_document else None
        size = PAIRS_A_SHARD * (BY_DOCUMENT if self.by_document else 1)
        start = 0
        while start < len(documents):
            stop = min(start + size, len(documents))
            if borders is not None and stop < len(documents):
                later = borders[np.searchsorted(borders, stop) :]
                stop = int(later[0]) if len(later) else len(documents)
            yield start, stop
            start = stop

    def _collect(self, block: Block) -> None:
        """Put the scores of a block's shards into its file of scores."""
        if self._is_scored(block):
            return
        pairs = pl.read_ipc(self._pairs_file(block))
        parts = [np.load(self._shard_file(block, start)) for start, _ in self._shards(block)]
        scores = np.concatenate([np.empty(0, np.float32), *parts])
        if not np.isfinite(scores).all():
            self._refuse(pairs.row(int(np.flatnonzero(~np.isfinite(scores))[0])))
        new = pairs.with_columns(score=pl.Series(scores)).cast(_SCHEMA)  # type: ignore[arg-type]  # a mapping of types
        known = self._known(block)
        with whole_file(self._scores_file(block)) as partial:
            pl.concat([known.join(new, on=["query", "document"], how="anti"), new]).write_ipc(partial)

    def _refuse(self, pair: tuple[int, int]) -> None:
        query, document = (
            name_of_row(self.prepared / f"{table}.parquet", row)
            for table, row in zip(("queries", "corpus"), pair, strict=True)
        )
        raise UserError(
            f"{self.model}: the score of query {query} and document {document} is not finite; check the reranker's "
            "weights and precision"
        )


def score_shard(
    out: Path, scorer: PairScorer, pairs: Path, start: int, stop: int, queries: Texts, documents: Texts
) -> None:
    """Raw scores of the rows start ... stop - 1 of a file of pairs, float32 [n], into the .npy file `out`."""
    rows = pl.scan_ipc(pairs).slice(start, stop - start).collect()
    texts = zip(queries.take(rows["query"].to_numpy()), documents.take(rows["document"].to_numpy()), strict=True)
    scores = scorer.score(list(texts)).astype(np.float32)
    with whole_file(out) as partial, partial.open("wb") as handle:
        np.save(handle, scores, allow_pickle=False)


def scores_folder(
    cache: Path,
    models: Path,
    params: ScoreParams | SecondTeacherParams,
    texts: Sequence[Texts],
    vectors: Sequence[str] = (),
) -> Path:
    """Where scores are kept: by the model's files, the parameters that decide a score, the device; then by texts.

    vectors: what else decides the vectors that late interaction compares.
    """
    import torch

    facts = {
        "weights": content_hash(locate_model(models / params.model)),
        "params": params.model_dump(mode="json", exclude=_NO_MATTER),
        "cuda": torch.cuda.is_available(),
        **({"vectors": list(vectors)} if vectors else {}),
    }
    model = json_hash(facts)[:32]
    return cache / "scores" / model / "-".join(one.identity for one in texts)
