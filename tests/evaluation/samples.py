"""Generated evaluation folders: the tables an evaluation leaves, small and seeded."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

CATEGORIES = {"Answers": "Retrieval", "Facts": "Retrieval", "Intent": "Classification", "Topics": "Clustering"}
SIZES = {"Answers": 200, "Facts": 120, "Intent": 300, "Topics": 10}


def example_values(model_gain: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Per-example scores of the four tasks; the same seed gives the same examples, `model_gain` moves them."""
    random = np.random.default_rng(seed)
    values = {}
    for task, size in SIZES.items():
        level = random.beta(2, 1.5, size)
        noise = np.random.default_rng([round(1e6 * (1 + model_gain)), size]).normal(0, 0.02, size)
        values[task] = np.clip(level + model_gain + noise, 0, 1)
    return values


def write_evaluation(
    folder: Path,
    models: Mapping[str, Mapping[str, np.ndarray]],
    categories: Mapping[str, str] = CATEGORIES,
) -> Path:
    """Write scores.parquet and examples.parquet for per-example values by model and task."""
    folder.mkdir(parents=True, exist_ok=True)
    scores: list[tuple[str, str, str, str, float]] = []
    examples: list[tuple[str, str, str, float, int]] = []
    for model, tasks in models.items():
        for task, values in tasks.items():
            scores.append((model, task, categories[task], "main", float(np.mean(values))))
            examples.extend((model, task, f"e{row}", float(value), 0) for row, value in enumerate(values))
    columns = ["model", "task", "category", "metric", "score"]
    pl.DataFrame(scores, schema=columns, orient="row").write_parquet(folder / "scores.parquet")
    columns = ["model", "task", "example_id", "score", "replicate"]
    pl.DataFrame(examples, schema=columns, orient="row").write_parquet(folder / "examples.parquet")
    return folder


def write_extras(folder: Path, text: str = "how do I <b>cook</b> rice?") -> None:
    """Write worst_queries.parquet and cost.json beside them."""
    rows = []
    for task in ("Answers", "Facts"):
        for query in range(3):
            for rank in (1, 2, 3, None):
                rows.append(
                    {
                        "model": "trained",
                        "task": task,
                        "query_id": f"q{query}",
                        "query": f"{text} ({query})",
                        "score": 0.1 * query,
                        "rank": rank,
                        "doc_id": f"d{rank}",
                        "document": f"Document {rank}: rinse the rice & bring water to a boil. " * 8,
                        "similarity": 0.5,
                        "relevant": rank in (3, None) if query else rank is None,
                    }
                )
    pl.DataFrame(rows).write_parquet(folder / "worst_queries.parquet")
    counts = {"plain": 120_345, "distinct": 60_000, "shared_prefix": 20_234}
    cost = {model: {task: counts for task in CATEGORIES} for model in ("base", "trained")}
    (folder / "cost.json").write_text(json.dumps(cost), encoding="utf-8")
