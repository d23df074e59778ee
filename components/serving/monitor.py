"""Monitor production: sampled queries compared with training queries, and with the documents that a teacher finds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.config import Config, load_config
from components.contracts.tables import QUERIES, read_table
from components.contracts.tasks import read_tasks
from components.page.plots import Axis, histogram, plot
from components.page.render import render_page
from components.page.svg import Drawing
from components.serving.ask import Model, load_with_store, registered_model, search_texts
from components.serving.corpus import task_corpus
from components.serving.drift import Agreement, Novelty, measure_agreement, measure_novelty, measure_overlap
from components.serving.sample import FOLDER, read_sample, redact

if TYPE_CHECKING:
    from components.model.sentence_model import SentenceModel, Side

FEWEST = 50  # served and dev queries of a task that say something
TRAINED, ASKED = 5000, 500  # at most so many training queries, and served or dev queries, are embedded
TOP = 10  # documents whose overlap with the teacher's counts


@dataclass(frozen=True)
class Limits:
    """Thresholds of an alert: the share of novel queries, and the drop in agreement with the teacher."""

    novel: float = 0.2
    drop: float = 0.1


@dataclass(frozen=True)
class TaskWatch:
    """Results of one task. novel: the most novel queries, redacted."""

    task: str
    served: int
    novelty: Novelty
    agreement: Agreement
    novel: list[tuple[float, str]]
    alerts: list[str]

    def chart(self) -> Drawing:
        """Histograms of the cosine to the nearest training query."""
        edges = np.linspace(min(self.novelty.nearest.min(), self.novelty.reference.min()), 1, 31)
        series = [
            histogram("dev queries", self.novelty.reference, edges, "grey"),
            histogram("served queries", self.novelty.nearest, edges, "blue"),
        ]
        most = max(max(one.y) for one in series)
        x, y = Axis("cosine to the nearest training query", float(edges[0]), 1.0), Axis("share", 0.0, 1.15 * most)
        return plot(series, self.task, x, y, marks=[(self.novelty.limit, "limit")])


@dataclass(frozen=True)
class Watch:
    """The whole report. left_out: task: why it says nothing."""

    model: str
    days: int
    tasks: list[TaskWatch]
    left_out: dict[str, str]

    @property
    def alerts(self) -> list[str]:
        return [f"{one.task}: {alert}" for one in self.tasks for alert in one.alerts]

    def lines(self) -> list[str]:
        """Lines for the terminal and the flow's log."""
        seen = [
            f"{one.task}: {one.served} queries, {100 * one.novelty.share:.0f} % novel, agreement with the teacher "
            f"{one.agreement.served:.2f} (dev {one.agreement.dev:.2f})"
            for one in self.tasks
        ]
        skipped = [f"{task}: {why}" for task, why in self.left_out.items()]
        return [*seen, *skipped, *(f"ALERT {alert}" for alert in self.alerts)]


def watch(root: Path, version: str, days: int, limits: Limits) -> Watch:
    """Compare the queries that were sampled in the last `days` days.

    Raises:
        UserError: no sample, no such version, or this checkout has not run prepare.
    """
    sample = read_sample(root / FOLDER, days, datetime.now(UTC))
    if not sample:
        raise UserError(f"{root / FOLDER}: no queries of the last {days} days; turn the sample on where you serve")
    prepared = root / "outputs" / "prepare" / "queries.parquet"
    if not prepared.is_file():
        raise UserError(
            f"{prepared}: missing; the monitor compares with the queries of training: dvc pull, or make run"
        )
    queries = read_table(prepared, QUERIES, ("row", "text", "task", "split"))
    config, model = load_config(root / "params.yaml"), registered_model(root, version)
    seen, left_out = list[TaskWatch](), dict[str, str]()
    for task, asked in sample.items():
        own = {split: _texts(queries, task, split, config.seed) for split in ("train", "dev")}
        if task not in model.tasks or min(len(asked), len(own["dev"])) < FEWEST or not own["train"]:
            left_out[task] = f"{len(asked)} served and {len(own['dev'])} dev queries; {FEWEST} of each are needed"
            continue
        seen.append(_watch_task(root, config, model, task, asked[-ASKED:], own, limits))
    return Watch(model.name, days, seen, left_out)


def _texts(queries: pl.DataFrame, task: str, split: str, seed: int) -> list[str]:
    """Queries of training, redacted like the served ones, a sample where there are many."""
    own = queries.filter((pl.col("task") == task) & (pl.col("split") == split))
    most = TRAINED if split == "train" else ASKED
    kept = own.sample(most, seed=seed) if len(own) > most else own
    return [redact(text) for text in kept["text"].to_list()]


def _watch_task(
    root: Path, config: Config, model: Model, task: str, asked: list[str], own: dict[str, list[str]], limits: Limits
) -> TaskWatch:
    texts = task_corpus(root / "outputs", task)[1]
    production, query = load_with_store(model, task, root / ".cache" / "vectors")
    found = measure_novelty(*(production.encode(texts, query) for texts in (asked, own["train"], own["dev"])))
    teacher, sides = _teacher(root, config, task)
    best = [
        measure_overlap(
            search_texts(production, query, production.document, some, texts, TOP).documents,
            search_texts(teacher, *sides, some, texts, TOP).documents,
        )
        for some in (asked, own["dev"])
    ]
    agreed = measure_agreement(*best)
    order = np.argsort(found.nearest)[:10]
    novel = [(float(found.nearest[i]), asked[i]) for i in order if found.nearest[i] < found.limit]
    return TaskWatch(task, len(asked), found, agreed, novel, _alerts(found, agreed, limits))


def _teacher(root: Path, config: Config, task: str) -> "tuple[SentenceModel, tuple[Side, Side]]":
    """The first dense teacher, and how it takes queries and documents."""
    from components.teacher.dense import EmbeddedTexts

    name, params = next(iter(config.retrieve.dense.items()))
    embedded = EmbeddedTexts(root / "outputs" / "fetch" / "models", name, params, root / ".cache")
    symmetric = read_tasks(root / "outputs" / "prepare" / "tasks.yaml")[task].symmetric
    return embedded.source.load(), embedded.sides(task, symmetric)


def _alerts(found: Novelty, agreed: Agreement, limits: Limits) -> list[str]:
    alerts = []
    if found.significant(limits.novel):
        alerts.append(f"{100 * found.share:.0f} % of the queries are novel, over {100 * limits.novel:.0f} %")
    if agreed.dropped(limits.drop):
        alerts.append(f"agreement with the teacher is {agreed.served:.2f}, {agreed.dev:.2f} on dev queries")
    return alerts


def monitor_page(report: Watch, limits: Limits) -> str:
    """The report as HTML."""
    title = f"Monitor: {report.model}"
    return render_page("components.serving", "monitor.html.jinja", title=title, report=report, limits=limits)
