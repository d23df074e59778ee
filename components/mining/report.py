"""The page a person reads to judge a margin: score distributions with the margin drawn in, counts, mined examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.config import MineParams
from components.data.inputs import Inputs
from components.mining.adaptive import hardest
from components.mining.charts import charts
from components.mining.rules import REASONS, relative_threshold
from components.page.render import render_page

_TEXT = 420  # characters of a text shown
_REFUSED = 5  # refused candidates shown per example and reason
_SHADES = ("green", "purple", "lilac", "pink", "grey", "red", "orange", "yellow", "pale")
_COLOURS = dict(zip(("kept", *REASONS), _SHADES, strict=True))
_BORDER = 5  # candidates shown on each side of the margin
Texts = dict[int, tuple[str, str]]  # by row: a document's id and text


def write_report(
    file: Path,
    inputs: Inputs,
    judged: pl.DataFrame,
    positives: pl.DataFrame,
    suspicious: pl.DataFrame,
    curves: pl.DataFrame,
    params: MineParams,
    seed: int,
) -> None:
    """Write one self-contained HTML file: no script, nothing loaded from elsewhere."""
    texts = {row: (doc, text) for row, doc, text in inputs.corpus.select("row", "doc_id", "text").iter_rows()}
    asked = dict(inputs.queries.select("row", "text").iter_rows())
    positives = positives.join(inputs.queries.select("task", query="row"), on="query").sort("query", "document")
    tasks: list[dict[str, Any]] = []
    for task in inputs.tasks:
        own, right = judged.filter(pl.col("task") == task), positives.filter(pl.col("task") == task)
        curve = curves.filter(pl.col("task") == task)
        doubts = suspicious.join(right.select("query"), on="query", how="semi")
        tasks.append(
            {
                "name": task,
                "margin": float(own["margin"][0]) if len(own) else params.margin,
                "candidates": len(own),
                "counts": _counts(own),
                "without": _without_negatives(own, right),
                "queries": right["query"].n_unique(),
                "plots": charts(own, right, curve, params),
                "border": _border(own, right, texts, asked),
                "examples": list(_examples(own, right, texts, asked, params, seed)),
                "suspicious": _doubtful(doubts, texts, asked),
                "suspicious_count": len(doubts),
                "positives": len(right),
            }
        )
    seen = {name for task in tasks for name, _, _ in task["counts"]}
    page = render_page(
        "components.mining",
        "report.html.jinja",
        title="Mined negatives",
        tasks=tasks,
        reasons=REASONS,
        params=params,
        seen=seen,
        colours=_COLOURS,
    )
    file.write_text(page, encoding="utf-8")


def _counts(own: pl.DataFrame) -> list[tuple[str, int, float]]:
    """(reason or "kept", candidates, share), kept first, then by the order of the rules."""
    found = dict(own.group_by(pl.col("reason").fill_null("kept")).len().iter_rows())
    return [(name, found[name], found[name] / len(own)) for name in ("kept", *REASONS) if name in found]


def _without_negatives(own: pl.DataFrame, right: pl.DataFrame) -> int:
    """Queries of which every candidate was refused (or that had none)."""
    return right["query"].n_unique() - own.filter(pl.col("reason").is_null())["query"].n_unique()


def _border(
    own: pl.DataFrame, right: pl.DataFrame, texts: Texts, asked: dict[int, str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """What lies nearest to its query's limit, on either side: the candidates that a small change would move."""
    limit = relative_threshold(pl.col("weakest"), pl.col("margin"))
    distance = (pl.col("score") - limit) / pl.col("weakest").abs().clip(lower_bound=1e-9)
    measured = own.with_columns(limit=limit, distance=distance.abs())
    nearest = measured.sort("distance", "query", "document").unique("query", keep="first", maintain_order=True)
    weakest = right.sort("score", "document").unique("query", keep="first", maintain_order=True)
    weakest = weakest.select("query", positive="document")
    sides = []
    for name, side in (
        ("kept", pl.col("reason").is_null()),
        ("refused", pl.col("reason").eq("false_negative").fill_null(False)),
    ):
        shown = nearest.filter(side).head(_BORDER).join(weakest, on="query", maintain_order="left")
        rows = [
            {
                "query": _cut(asked[row["query"]]),
                "positive": _row(texts, row["positive"], row["weakest"]),
                "candidate": _row(texts, row["document"], row["score"], row["reason"] or "", row["limit"]),
            }
            for row in shown.iter_rows(named=True)
        ]
        sides.append((name, rows))
    return sides


def _examples(
    own: pl.DataFrame,
    right: pl.DataFrame,
    texts: Texts,
    asked: dict[int, str],
    params: MineParams,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Queries drawn by the seed, each with its positives, its negatives and what was refused."""
    queries = right["query"].unique().sort().to_list()
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(queries))[: params.examples]
    for query in (queries[int(i)] for i in drawn):
        mine = own.filter(pl.col("query") == query)
        refused = (
            mine.drop_nulls("reason")
            .sort(["score", "document"], descending=[True, False])
            .group_by("reason", maintain_order=True)
            .head(_REFUSED)
            .sort(["score", "document"], descending=[True, False])
        )
        best = right.filter(pl.col("query") == query).sort(["score", "document"], descending=[True, False])
        limit = mine.select(relative_threshold(pl.col("weakest"), pl.col("margin"))).to_series()
        yield {
            "query": _cut(asked[query]),
            "limit": float(limit[0]) if len(limit) else None,
            "positives": [
                _row(texts, doc, score) for doc, score in best.select("document", "score").head(3).iter_rows()
            ],
            "more_positives": max(0, len(best) - 3),
            "kept": [
                _row(texts, doc, score)
                for doc, score in hardest(mine, params.negatives).select("document", "score").iter_rows()
            ],
            "refused": [
                _row(texts, doc, score, reason, threshold)
                for doc, score, reason, threshold in refused.select(
                    "document", "score", "reason", "threshold"
                ).iter_rows()
            ],
        }


def _row(texts: Texts, doc: int, score: float, reason: str = "", threshold: float | None = None) -> dict[str, Any]:
    return {"id": texts[doc][0], "text": _cut(texts[doc][1]), "score": score, "reason": reason, "threshold": threshold}


def _doubtful(found: pl.DataFrame, texts: Texts, asked: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {"query": _cut(asked[query]), "text": _cut(texts[doc][1]), "score": score, "share": share}
        for query, doc, score, share in found.head(5).select("query", "document", "score", "share_above").iter_rows()
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1].rstrip() + "…"
