"""The report: one self-contained page per evaluation, and the tables behind its plots.

`write_report(folder)` reads what the evaluation left in `folder` and adds `report.html`, `plots/tasks.csv` and
`plots/differences.csv`. The page asks nothing of the network. The same tables give the same bytes, so seconds are not
on it; the page that is returned, for MLflow, has them. Parts whose table is absent (worst queries, cost, a production
model) are left out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.base.short_lines import shorten_line
from components.contracts.shots import EvaluatedPrompt, count_prompts
from components.contracts.tables import read_table
from components.evaluation.standing import in_domain_tasks, public_scores, public_standing, rank_among_public
from components.page.plots import Bar, Difference, bars, difference_plot, difference_rows
from components.page.render import render_page
from components.page.svg import split_words
from components.statistics.bootstrap import LEVEL, RESAMPLES, interval, paired_bootstrap
from components.statistics.paired import SCORES, category_means, differences, read_evaluation

# One row a document: the best-ranked ones, then the wanted ones (`relevant`) that were not among them.
WORST_COLUMNS = ("model", "task", "query_id", "query", "score", "rank", "doc_id", "document", "relevant")
# Ours first, in the order a reader asks for them; the first two that are there are compared task by task.
ROLES = {"trained": "blue", "production": "orange", "base": "grey", "teacher": "green"}  # and their colours
PUBLIC = "lilac"
PUBLIC_MODELS = {
    "Qwen/Qwen3-Embedding-8B": "Qwen3-Embedding-8B",
    "annamodels/LGAI-Embedding-Preview": "LGAI-Embedding",
    "nvidia/NV-Embed-v2": "NV-Embed-v2",
    "intfloat/e5-mistral-7b-instruct": "e5-mistral-7b",
    "sentence-transformers/all-MiniLM-L6-v2": "all-MiniLM-L6-v2",
}
_SHOWN_TEXT, _SHOWN_DOCUMENTS = 240, 5
# Tokens: every text with its prefix; each distinct text with its prefix; each distinct text, and every prefix once.
_COST = ("plain", "distinct", "shared_prefix")


def write_report(
    folder: Path,
    training: Sequence[str] | None = None,
    seed: int = 0,
    seconds: Mapping[str, float] | None = None,
    prompts: Mapping[str, EvaluatedPrompt] | None = None,
    outputs: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write report.html and plots/ into an evaluation folder; returns the same page with `seconds` in its cost table.

    Args:
        folder: holds scores.parquet and examples.parquet; worst_queries.parquet and cost.json when there are any.
        training: names of the training tasks or data sets, for the in-domain share; None leaves it out.
        seed: of the resampling.
        seconds: wall time of each model's evaluation.
        prompts: of the trained model, by task; None leaves out how many are few-shot.
        outputs: rows of `components.evaluation.outputs.outputs_table`.

    Raises:
        UserError: a table is missing or breaks its contract.
    """
    scores = read_table(folder / "scores.parquet", SCORES)
    models = _ordered(scores["model"].unique().to_list())
    compared = _comparison(folder, models, seed)
    tasks = sorted(scores["task"].unique().to_list())
    public = _public_table(tasks)
    shown = {
        "title": "Evaluation report",
        "headline": _headline(scores, models, public),
        "models": models,
        "panels": _panels(scores, models, public),
        "public_models": list(PUBLIC_MODELS) if public is not None else [],
        "comparison": compared,
        "tasks": _task_rows(scores, models, prompts or {}),
        "prompts": count_prompts(prompts) if prompts else None,
        "in_domain": None if training is None else in_domain_tasks(tasks, training),
        "cost": _cost(folder / "cost.json"),
        "outputs": [_output_cells(row) for row in outputs],
        "worst_model": models[0],
        "worst": _worst(folder / "worst_queries.parquet", models[0]),
    }
    (folder / "report.html").write_text(_page(shown, seconds=None), encoding="utf-8")
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    scores.sort("model", "category", "task").write_csv(plots / "tasks.csv")
    if compared:
        pl.DataFrame(compared["table"]).write_csv(plots / "differences.csv")
    return _page(shown, seconds)


def _page(shown: Mapping[str, Any], seconds: Mapping[str, float] | None) -> str:
    return render_page("components.evaluation", "report.html.jinja", **shown, seconds=seconds)


def _ordered(models: Sequence[str]) -> list[str]:
    return [name for name in ROLES if name in models] + sorted(name for name in models if name not in ROLES)


def _colour(model: str) -> str:
    return ROLES.get(model, PUBLIC)


def _by_model(scores: pl.DataFrame, model: str) -> tuple[dict[str, float], dict[str, str]]:
    rows = scores.filter(pl.col("model") == model)
    return dict(rows.select("task", "score").iter_rows()), dict(rows.select("task", "category").iter_rows())


def _public_table(tasks: Sequence[str]) -> pl.DataFrame | None:
    """The public scores when `tasks` are exactly their benchmark's, None otherwise."""
    table = public_scores()
    return table if set(tasks) == set(table["task"].unique()) else None


def _headline(scores: pl.DataFrame, models: Sequence[str], public: pl.DataFrame | None) -> dict[str, Any]:
    """The headline table. A model without some task has no mean that could be compared: its cells stay empty."""
    categories = sorted(scores["category"].unique().to_list())
    count, ranked = scores["task"].n_unique(), None
    rows: list[tuple[str, list[float | None], str]] = []
    for model in models:
        found, category_of = _by_model(scores, model)
        if len(found) < count:
            rows.append((model, [None] * (len(categories) + 2), ""))
            continue
        place = rank_among_public(found, category_of, public)
        ranked = place.models - 1 if place.models else None
        cells: list[float | None] = [place.mean_task, place.mean_type, *(place.categories[name] for name in categories)]
        rows.append((model, cells, str(place.borda_rank or "")))
    marked = _mark_best([cells for _, cells, _ in rows])
    shown = [
        {"model": model, "colour": _colour(model), "cells": cells, "rank": rank}
        for (model, _, rank), cells in zip(rows, marked, strict=True)
    ]
    return {"categories": categories, "tasks": count, "rows": shown, "ranked": ranked}


def _mark_best(rows: Sequence[Sequence[float | None]]) -> list[list[dict[str, Any]]]:
    """Cells as text, the best of each column marked when there is more than one row."""
    best = [max((value for value in column if value is not None), default=None) for column in zip(*rows, strict=True)]
    return [
        [
            {
                "text": "–" if value is None else f"{100 * value:.2f}",
                "best": len(rows) > 1 and value is not None and value == top,
            }
            for value, top in zip(row, best, strict=True)
        ]
        for row in rows
    ]


def _panels(scores: pl.DataFrame, models: Sequence[str], public: pl.DataFrame | None) -> list[dict[str, Any]]:
    rows: dict[str, list[Bar]] = {}
    for model in models:
        for category, mean in category_means(*_by_model(scores, model)).items():
            rows.setdefault(category, []).append(Bar(model, mean, _colour(model), soft=model not in ROLES))
    for name, label in PUBLIC_MODELS.items() if public is not None else ():
        for category, mean in public_standing(name, public).categories.items():
            rows.setdefault(category, []).append(Bar(label, mean, PUBLIC, soft=True))
    return [{"title": split_words(category), "chart": bars(rows[category], category)} for category in sorted(rows)]


def _comparison(folder: Path, models: Sequence[str], seed: int) -> dict[str, Any] | None:
    """Differences of the first two roles, with intervals; None when there is one model only."""
    pair = [model for model in models if model in ROLES][:2]
    if len(pair) < 2:
        return None
    first, second = (read_evaluation(folder, model) for model in pair)
    resampled = paired_bootstrap(differences(first, second), RESAMPLES, seed)
    mean = first.mean_task - second.mean_task
    overall = Difference("mean(task)", mean, *interval(resampled.mean, LEVEL), bold=True)
    table: dict[str, list[Any]] = {"task": [], "category": [], "difference": [], "lower": [], "upper": []}
    by_category: dict[str, list[Difference]] = {}
    for number, task in enumerate(resampled.tasks):
        difference = first.scores[task] - second.scores[task]
        ends = interval(resampled.replicates[number], LEVEL)
        by_category.setdefault(first.categories[task], []).append(Difference(task, difference, *ends))
        for column, value in zip(table, (task, first.categories[task], difference, *ends), strict=True):
            table[column].append(value)
    return {
        "first": pair[0],
        "second": pair[1],
        "level": f"{LEVEL:.0%}",
        "resamples": f"{RESAMPLES:,}",
        "chart": difference_plot(difference_rows(overall, by_category), f"{pair[0]} minus {pair[1]}"),
        "table": table,
    }


def _task_rows(
    scores: pl.DataFrame, models: Sequence[str], prompts: Mapping[str, EvaluatedPrompt]
) -> list[dict[str, Any]]:
    wide = {model: _by_model(scores, model)[0] for model in models}
    rows = []
    for task, category, metric in scores.select("task", "category", "metric").unique().sort("category", "task").rows():
        column = [[wide[model].get(task)] for model in models]
        cells = [marked[0] for marked in _mark_best(column)]
        row = {"task": task, "category": category, "metric": metric, "cells": cells}
        rows.append({**row, "prompt": _prompt_cells(prompts[task]) if task in prompts else None})
    return rows


def _prompt_cells(one: EvaluatedPrompt) -> tuple[str, str]:
    """(shots and where they are from, whose instruction it is)."""
    shots = f"{len(one.prompt.shots)}, {one.shots_from}" if one.prompt.shots else "0"
    return shots, one.served_by or ("seen in training" if one.seen else "not in training")


def _output_cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of one form of the vectors: name, bytes, mean, difference to float32 with its interval, worst task."""
    cells = [row["output"], f"{row['bytes']:,}", f"{100 * row['mean']:.2f}"]
    if "difference" not in row:
        return [*cells, "", ""]
    points = [f"{100 * row[key]:+.2f}" for key in ("difference", "low", "high")]
    worst = f"{row['worst_task']} {100 * row['worst_difference']:+.2f}"
    return [*cells, f"{points[0]} [{points[1]}, {points[2]}]", worst]


def _worst(path: Path, model: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    table = pl.read_parquet(path)
    missing = [column for column in WORST_COLUMNS if column not in table.columns]
    if missing:
        raise UserError(f"{path}: field {missing[0]} is missing; run the evaluate stage again")
    table = table.filter(pl.col("model") == model).sort("task", "score", "query_id", "rank", "doc_id", nulls_last=True)
    tasks: dict[str, list[dict[str, Any]]] = {}
    for (task, _), rows in table.group_by("task", "query_id", maintain_order=True):
        tasks.setdefault(str(task), []).append(_query(rows.to_dicts()))
    return [{"name": task, "queries": queries} for task, queries in tasks.items()]


def _query(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One query: what was wanted (with its rank, if it was ranked) and the first documents retrieved."""
    wanted = [row for row in rows if row["relevant"]][:_SHOWN_DOCUMENTS]
    ranked = [row for row in rows if row["rank"] is not None and row["rank"] <= _SHOWN_DOCUMENTS]
    return {
        "score": f"{100 * rows[0]['score']:.1f}",
        "text": _cut(rows[0]["query"]),
        "positives": [(_cut(row["document"]), row["rank"]) for row in wanted],
        "retrieved": [(_cut(row["document"]), row["relevant"]) for row in ranked],
    }


def _cut(text: str | None) -> str:
    """At most _SHOWN_TEXT characters on one line; None is a judged document that the corpus does not have."""
    if text is None:
        return "(not in the corpus)"
    return shorten_line(text, _SHOWN_TEXT)


def _cost(path: Path) -> list[list[str]]:
    """Rows of the cost table: cost.json, {model: {task: {plain, distinct, shared_prefix}}}, summed over tasks."""
    if not path.is_file():
        return []
    cost: dict[str, dict[str, dict[str, int]]] = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for model in _ordered(list(cost)):
        counts = cost[model].values()
        try:
            plain, distinct, shared = (sum(task[what] for task in counts) for what in _COST)
        except KeyError as missing:
            raise UserError(f"{path}: {model}: a task has no count {missing}; run the evaluate stage again") from None
        ratio = f"{plain / shared:.2f}" if shared else "–"
        rows.append([model, f"{plain:,}", f"{plain - distinct:,}", f"{distinct - shared:,}", f"{shared:,}", ratio])
    return rows
