"""Teacher scores that a source brings along (pos_scores, neg_scores), on the scale of our reranker.

Negatives that we mine stand in one group with the source's pairs, so one scale is needed. A sample of a task's scored
pairs is scored by the reranker too, and a line maps the source's scores x to the reranker's y, by least squares:

    y = a + b x,  b = cov(x, y) / var(x),  a = mean(y) - b mean(x)

It is the estimate of what the reranker would give. Where the two rank the sample differently (Spearman below LEAST), or
the sample is small, the task's scores are not used and the reranker scores its pairs.
"""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from components.base.files import whole_file
from components.config import EngineParams
from components.contracts.schedule import keyed_random
from components.contracts.tables import SOURCE_SCORES, read_table
from components.contracts.texts import Texts
from components.data.inputs import Inputs
from components.stage.executor import run_shards
from components.teacher.rescoring import PairScorer, score_shard

log = logging.getLogger(__name__)
SAMPLE, FEWEST, LEAST = 256, 20, 0.5  # pairs of a task scored twice; fewest of them; least Spearman correlation
_SOURCE = 11  # first part of a random generator's key
NO_SCORES = pl.DataFrame(schema={"query": pl.UInt32, "document": pl.UInt32, "score": pl.Float64})


def read_source_scores(prepared: Path, inputs: Inputs) -> pl.DataFrame:
    """query, document, score of the queries in `inputs`; sorted. Empty where no source brings scores."""
    file = prepared / "source_scores.parquet"
    if not file.is_file():
        return NO_SCORES
    asked = inputs.queries.select(query="row")
    return read_table(file, SOURCE_SCORES).join(asked, on="query", how="semi", maintain_order="left")


def on_our_scale(
    given: pl.DataFrame,
    inputs: Inputs,
    scorer: PairScorer,
    texts: tuple[Texts, Texts],
    work: Path,
    seed: int,
    engine: EngineParams,
    threads: int,
) -> pl.DataFrame:
    """The scores that are used, query, document, score (of the reranker's scale); sorted.

    Args:
        texts: of queries and documents.
    """
    if given.is_empty():
        return given
    owned = given.join(inputs.queries.select("task", query="row"), on="query", maintain_order="left")
    by_task = {str(task): own.drop("task") for (task,), own in owned.group_by("task", maintain_order=True)}
    samples = {task: _sample(own, seed) for task, own in by_task.items()}
    shards = []
    for task, sample in samples.items():
        file, out = (work / "source" / f"{task}.{suffix}" for suffix in ("arrow", "npy"))
        with whole_file(file) as partial:
            sample.select("query", "document").write_ipc(partial)
        if not out.exists():
            shards.append((out, scorer, file, 0, len(sample), *texts))
    run_shards(score_shard, shards, "score: sample of the source's scores", engine, threads)
    used = [_mapped(task, own, samples[task], work) for task, own in by_task.items()]
    return pl.concat([NO_SCORES, *(own for own in used if own is not None)]).sort("query", "document")


def _sample(given: pl.DataFrame, seed: int) -> pl.DataFrame:
    chosen = keyed_random(seed, _SOURCE).permutation(len(given))[:SAMPLE]
    return given[np.sort(chosen)]


def _mapped(task: str, given: pl.DataFrame, sample: pl.DataFrame, work: Path) -> pl.DataFrame | None:
    """A task's scores on our scale; None where they do not agree with the reranker."""
    x, y = sample["score"].to_numpy(), np.load(work / "source" / f"{task}.npy").astype(np.float64)
    agreement = _spearman(x, y)
    if len(x) < FEWEST or agreement < LEAST:
        log.warning(
            "%s: the source's own %s scores are not used: on %s pairs their Spearman correlation with the reranker is "
            "%.2f (at least %.1f on %s pairs is needed); the reranker scores these pairs",
            task,
            f"{len(given):,}",
            len(x),
            agreement,
            LEAST,
            FEWEST,
        )
        return None
    slope = float(np.cov(x, y)[0, 1] / x.var(ddof=1))
    offset = float(y.mean() - slope * x.mean())
    log.info(
        "%s: %s scores of the source are used, as %.3f + %.3f x (Spearman %.2f on %s pairs scored by both)",
        task,
        f"{len(given):,}",
        offset,
        slope,
        agreement,
        len(x),
    )
    return given.with_columns(score=offset + slope * pl.col("score"))


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; 0 where one side is constant."""
    ranks = pl.DataFrame({"x": x, "y": y}).select(pl.all().rank())
    if len(ranks) < 2 or 0 in (ranks["x"].std(), ranks["y"].std()):
        return 0.0
    return float(ranks.select(pl.corr("x", "y")).item())
