"""The files that evaluated tasks left, brought together in the tables of the stage."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Finished:
    """Where the files of one evaluated model are, under which name and revision, and what it took."""

    name: str
    revision: str
    folder: Path
    meta: dict[str, Any]  # mteb's description of the model
    cost: dict[str, dict[str, int]]
    seconds: float


def collect(finished: list[Finished], out: Path) -> None:
    """Bring the models' files together; rows in the order of models, then task names."""
    tables: dict[str, list[pl.DataFrame]] = {"scores": [], "examples": [], "worst_queries": []}
    cost: dict[str, Any] = {}
    for model in finished:
        results = out / "results" / f"embedding-foundry__{model.name}" / model.revision
        results.mkdir(parents=True)
        about = json.dumps(model.meta, indent=2, sort_keys=True, ensure_ascii=False)
        (results / "model_meta.json").write_text(about + "\n", encoding="utf-8")
        for folder in sorted(model.folder.iterdir()):
            task = folder.name
            shutil.copyfile(folder / f"{task}.json", results / f"{task}.json")
            cost.setdefault(model.name, {})[task] = model.cost[task]
            for table, frame in task_frames(model.name, task, folder):
                tables[table].append(frame)
    write_tables(tables, out)
    (out / "cost.json").write_text(json.dumps(cost, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_tables(tables: Mapping[str, Sequence[pl.DataFrame]], out: Path) -> None:
    """Write each table that has rows."""
    for table, frames in tables.items():
        if frames:
            pl.concat(frames).write_parquet(out / f"{table}.parquet", compression="zstd", statistics=False)


def task_frames(model: str, task: str, folder: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """(table, its rows) of one model's task, from what runner.py left in `folder`."""
    summary = json.loads((folder / f"{task}.summary.json").read_text(encoding="utf-8"))
    named = [pl.lit(model).alias("model"), pl.lit(task).alias("task")]
    score = {key: [summary[key]] for key in ("category", "metric", "score")}
    yield "scores", pl.DataFrame(score).select(*named, pl.all())
    for table, part in (("examples", "examples"), ("worst_queries", "worst")):
        path = folder / f"{task}.{part}.parquet"
        if path.is_file():
            rows = pl.read_parquet(path)
            yield table, rows.select(*named, *rows.columns)
