"""Which queries' candidates are scored: all, or the dev queries and what training will draw.

Training draws from the examples, one for each positive of a training query, in an order that depends on their number
alone (components/contracts/schedule.py). Where mining changes that number, config refuses `drawn`.
"""

from pathlib import Path

import numpy as np
import polars as pl

from components.config import Config
from components.contracts.schedule import Schedule
from components.contracts.tasks import read_tasks
from components.data.inputs import Inputs


def wanted_queries(inputs: Inputs, config: Config, prepared: Path) -> np.ndarray:
    """bool by query row. Positives are scored for all queries."""
    queries = inputs.queries
    wanted = np.zeros(queries["row"][-1] + 1, dtype=bool)
    if config.score.queries == "all":
        wanted[queries["row"].to_numpy()] = True
        return wanted
    wanted[queries.filter(pl.col("split") == "dev")["row"].to_numpy()] = True
    examples = inputs.qrels.join(
        queries.filter(pl.col("split") == "train").select("task", query="row"), on="query", maintain_order="left"
    )
    by_task = {str(task): own["query"].to_numpy() for (task,), own in examples.group_by("task", maintain_order=True)}
    tasks = read_tasks(prepared / "tasks.yaml") if by_task else {}
    schedule = Schedule({task: len(rows) for task, rows in by_task.items()}, tasks, config.schedule, config.seed)
    for task, drawn in (schedule.drawn() if by_task else {}).items():
        wanted[by_task[task][drawn]] = True
    return wanted
