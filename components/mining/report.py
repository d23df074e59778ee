"""The page a person reads to judge a margin: score distributions with the margin drawn in, counts, mined examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.config import MineParams
from components.config.mining import Scale
from components.mining.charts import charts
from components.mining.facts import TaskTexts
from components.mining.rules import REASONS, hardest, relative_threshold
from components.mining.sample import Sample
from components.mining.tally import Tally
from components.mining.task import Mined, Setting
from components.page.render import render_page

_TEXT = 420  # characters of a text shown
_REFUSED = 5  # refused candidates shown per example and reason
_SHADES = ("green", "purple", "lilac", "pink", "grey", "blue", "red", "orange", "yellow", "pale")
_COLOURS = dict(zip(("kept", *REASONS), _SHADES, strict=True))
_BORDER = 5  # candidates shown on each side of the margin
_SCALES = {
    "probability": "the sigmoid of the teacher's logits, a probability",
    "raw": "the teacher's raw scores",
    "relevance": "the calibrated relevance of the teacher's scores, a probability",
}
Section = dict[str, Any]  # what the template shows of a task


def write_report(file: Path, sections: list[Section], params: MineParams, scale: Scale) -> None:
    """Write one self-contained HTML file: no script, nothing loaded from elsewhere."""
    page = render_page(
        "components.mining",
        "report.html.jinja",
        title="Mined negatives",
        tasks=sections,
        reasons=REASONS,
        params=params,
        scale=_SCALES[scale],
        seen={name for task in sections for name, _, _ in task["counts"]},
        colours=_COLOURS,
    )
    file.write_text(page, encoding="utf-8")


def task_section(mined: Mined, texts: TaskTexts, sample: Sample, setting: Setting) -> Section:
    """One task's section of the page. Counts are of all its queries; plots and examples of the sample's."""
    own, right, params, tally = sample.candidates, sample.positives, setting.params, mined.tally
    return {
        "name": mined.name,
        "margin": mined.margin.margin,
        "fitted": mined.margin.fitted,
        "told": mined.margin.told,
        "ranking": str(mined.ranking) if mined.ranking.by_chance else None,
        "judged": _judged(mined),
        "candidates": tally.candidates,
        "counts": _counts(tally),
        "without": tally.without,
        "queries": tally.queries,
        "shown": len(sample.queries) if len(sample.queries) < sample.all_queries else None,
        "plots": charts(own, right, mined.margin, params),
        "border": _border(own, right, texts),
        "examples": list(_examples(own, right, texts, params, setting.seed)),
        "suspicious": _doubtful(sample.suspicious, texts),
        "suspicious_count": tally.suspicious,
        "actions": {name: count for name, count in sorted(tally.actions.items()) if name != "report"},
        "positives": tally.positives,
    }


def _judged(mined: Mined) -> list[tuple[str, int, int]]:
    """(why, pairs judged, found relevant)."""
    if not mined.judgements:
        return []
    rows = pl.concat(mined.judgements).group_by("purpose").agg(pl.len(), pl.col("relevant").sum()).sort("purpose")
    return list(rows.iter_rows())


def _counts(tally: Tally) -> list[tuple[str, int, float]]:
    """(reason or "kept", candidates, share), kept first, then by the order of the rules."""
    found = tally.reasons
    return [(name, found[name], found[name] / tally.candidates) for name in ("kept", *REASONS) if found[name]]


def _border(own: pl.DataFrame, right: pl.DataFrame, texts: TaskTexts) -> list[tuple[str, list[dict[str, Any]]]]:
    """The candidates nearest to their query's limit, on either side: those that a small change would move."""
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
                "query": _cut(texts.query(row["query"])),
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
    texts: TaskTexts,
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
            "query": _cut(texts.query(query)),
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
                _row(
                    texts,
                    doc,
                    score,
                    reason,
                    threshold,
                    compared if scale in ("overlap", "rank", "judge") else None,
                    scale,
                )
                for doc, score, reason, threshold, compared, scale in refused.select(
                    "document", "score", "reason", "threshold", "compared", "scale"
                ).iter_rows()
            ],
        }


def _row(
    texts: TaskTexts,
    document: int,
    score: float,
    reason: str = "",
    threshold: float | None = None,
    compared: float | None = None,
    scale: str | None = None,
) -> dict[str, Any]:
    identity, text = texts.document(document)
    facts = {"score": score, "reason": reason, "threshold": threshold, "compared": compared, "scale": scale}
    return {"id": identity, "text": _cut(text), **facts}


def _doubtful(found: pl.DataFrame, texts: TaskTexts) -> list[dict[str, Any]]:
    return [
        {"query": _cut(texts.query(query)), "text": _cut(texts.document(doc)[1]), "score": score, "share": share}
        for query, doc, score, share in found.head(5).select("query", "document", "score", "share_above").iter_rows()
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1].rstrip() + "…"
