"""The page a person reads to judge a margin: score distributions with the margin drawn in, counts, mined examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.config import MineParams
from components.data.inputs import Inputs
from components.mining.adaptive import hardest
from components.mining.rules import REASONS
from components.svg import Series, histogram, plot

_BINS = 40
_TEXT = 420  # characters of a text shown
_REFUSED = 5  # refused candidates shown per example and reason


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
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = dict(inputs.corpus.select("doc_id", "text").iter_rows())
    asked = dict(inputs.queries.select("query_id", "text").iter_rows())
    positives = positives.join(inputs.queries.select("query_id", "task"), on="query_id").sort("query_id", "doc_id")
    tasks = []
    for task in inputs.tasks:
        own, right = judged.filter(pl.col("task") == task), positives.filter(pl.col("task") == task)
        curve = curves.filter(pl.col("task") == task)
        doubts = suspicious.join(right.select("query_id"), on="query_id", how="semi")
        tasks.append(
            {
                "name": task,
                "margin": float(own["margin"][0]) if len(own) else params.margin,
                "counts": _counts(own),
                "plots": _plots(own, right, curve, params),
                "examples": list(_examples(own, right, texts, asked, params, seed)),
                "suspicious": _doubtful(doubts, texts, asked),
                "suspicious_count": len(doubts),
                "positives": len(right),
            }
        )
    page = pages.get_template("report.html.jinja").render(tasks=tasks, reasons=REASONS, params=params)
    file.write_text(page, encoding="utf-8")


def _counts(own: pl.DataFrame) -> list[tuple[str, int, float]]:
    """(reason or "kept", candidates, share), kept first, then by the order of the rules."""
    found = dict(own.group_by(pl.col("reason").fill_null("kept")).len().iter_rows())
    return [(name, found[name], found[name] / len(own)) for name in ("kept", *REASONS) if name in found]


def _plots(own: pl.DataFrame, right: pl.DataFrame, curve: pl.DataFrame, params: MineParams) -> list[Markup]:
    if own.is_empty():
        return []
    kept, refused = own.filter(pl.col("reason").is_null()), own.filter(pl.col("reason").is_not_null())
    scores = np.concatenate([own["score"].to_numpy(), right["score"].to_numpy()])
    edges = np.linspace(*_span(scores), _BINS + 1)
    spread = [
        histogram("positives", right["score"].to_numpy(), edges, "--a"),
        histogram("kept", kept["score"].to_numpy(), edges, "--b"),
        histogram("refused", refused["score"].to_numpy(), edges, "--c"),
    ]
    drawn = [_histograms(spread, "Scores", "teacher score", [])]
    near = np.linspace(0.0, 1.5, _BINS + 1)
    ratio = 1 + (pl.col("score") - pl.col("weakest")) / pl.col("weakest").abs().clip(lower_bound=1e-9)
    relative = [
        histogram("kept", kept.select(ratio).to_series().to_numpy(), near, "--b"),
        histogram("refused", refused.select(ratio).to_series().to_numpy(), near, "--c"),
    ]
    margin = float(own["margin"][0])
    drawn.append(
        _histograms(
            relative,
            "Scores against the positive",
            "score as a share of the weakest positive",
            [(margin, f"margin {margin:.2f}")],
        )
    )
    if len(curve):
        drawn.append(_curve(curve, margin, params))
    return drawn


def _histograms(series: list[Series], title: str, x_label: str, marks: list[tuple[float, str]]) -> Markup:
    top = max((max(one.y) for one in series), default=0.0) or 1.0
    x_range = (float(series[0].x[0]), float(series[0].x[-1]))
    return plot(series, title, x_label, "share", x_range, (0.0, top * 1.15), marks)


def _curve(curve: pl.DataFrame, margin: float, params: MineParams) -> Markup:
    """What other margins would have given, on dev."""
    known = curve.drop_nulls("false_negative_rate")
    rate = Series(
        "estimated false-negative rate", known["margin"].to_list(), known["false_negative_rate"].to_list(), "--c"
    )
    share = (curve["negatives_per_query"] / params.negatives).to_list()
    filled = Series(f"negatives found, of {params.negatives}", curve["margin"].to_list(), share, "--b")
    top = max([1.0, *share])
    return plot(
        [rate, filled], "Margins on dev", "margin", "share", (0.5, 1.0), (0.0, top), [(margin, f"margin {margin:.2f}")]
    )


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _examples(
    own: pl.DataFrame,
    right: pl.DataFrame,
    texts: dict[str, str],
    asked: dict[str, str],
    params: MineParams,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Queries drawn by the seed, each with its positives, its negatives and what was refused."""
    queries = right["query_id"].unique().sort().to_list()
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(queries))[: params.examples]
    for query in (queries[int(i)] for i in drawn):
        mine = own.filter(pl.col("query_id") == query)
        refused = (
            mine.drop_nulls("reason")
            .sort(["score", "doc_id"], descending=[True, False])
            .group_by("reason", maintain_order=True)
            .head(_REFUSED)
            .sort(["score", "doc_id"], descending=[True, False])
        )
        best = right.filter(pl.col("query_id") == query).sort(["score", "doc_id"], descending=[True, False])
        yield {
            "query": _cut(asked[query]),
            "positives": [_row(texts, doc, score) for doc, score in best.select("doc_id", "score").head(3).iter_rows()],
            "more_positives": max(0, len(best) - 3),
            "kept": [
                _row(texts, doc, score)
                for doc, score in hardest(mine, params.negatives).select("doc_id", "score").iter_rows()
            ],
            "refused": [
                _row(texts, doc, score, reason, threshold)
                for doc, score, reason, threshold in refused.select(
                    "doc_id", "score", "reason", "threshold"
                ).iter_rows()
            ],
        }


def _row(
    texts: dict[str, str], doc: str, score: float, reason: str = "", threshold: float | None = None
) -> dict[str, Any]:
    return {"id": doc, "text": _cut(texts[doc]), "score": score, "reason": reason, "threshold": threshold}


def _doubtful(found: pl.DataFrame, texts: dict[str, str], asked: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"query": _cut(asked[query]), "text": _cut(texts[doc]), "score": score, "share": share}
        for query, doc, score, share in found.head(5).select("query_id", "doc_id", "score", "share_above").iter_rows()
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1].rstrip() + "…"
