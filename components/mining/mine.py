"""Stage `mine`: hard negatives for every training and dev query, and the reason for each rejected candidate.

A candidate is kept when the teacher scores it below the margin of the query's weakest positive and no other rule
(components/mining/rules.py) rejects it. Margins act on a scale with a zero point (components/mining/scale.py); scores
in the output are raw teacher scores (`reranker_score`), the logits for distillation: the trainer divides them by its
teacher temperature. Work goes task by task and some queries at a time, and texts stay on disk: memory holds
rows, and sketches of one task's documents.
"""

import json
import logging
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.base.threads import worker_count, workers
from components.contracts.streams import TableWriter
from components.contracts.tables import JUDGEMENTS, REJECTIONS, TRIPLETS, write_table
from components.contracts.tasks import read_tasks
from components.data.inputs import read_inputs
from components.mining.chance import refuse_chance
from components.mining.evidence import collect_judgements
from components.mining.facts import Stored, TaskTexts
from components.mining.judge import Judge
from components.mining.report import Section, task_section, write_report
from components.mining.sample import Sample
from components.mining.tally import collect_metrics, log_counts
from components.mining.task import Mined, Setting, TaskMining
from components.stage.context import StageContext

_CURES = {
    "duplicate_of_positive": "if the documents are variations of one template, set mine.near_duplicate and "
    "mine.same_words to 1",
    "false_negative": "raise mine.margin, or raise retrieve.depth",
    "absolute_margin": "lower mine.absolute_margin, or raise retrieve.depth",
    "rank_window": "lower mine.first_rank, or raise retrieve.depth",
    "max_score": "raise mine.max_score, or raise retrieve.depth",
    "too_easy": "lower mine.min_score",
    "same_label": "there is one label only; add texts of others",
}
log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, float]:
    """Write triplets, rejections, suspicious and (with a judge) judgements (Parquet), margins.json and report.html."""
    config, out = context.config, context.out
    threads = worker_count(config.threads)
    judge = Judge(config.mine.judge, context.outputs / "fetch" / "models", context.cache) if config.mine.judge else None
    scores = context.outputs / "score" / "teacher_scores.parquet"
    inputs = read_inputs(context.outputs / "prepare", texts=False)
    stored = Stored.of(context.outputs / "prepare", context.cache)
    tasks: list[Mined] = []
    sections: list[Section] = []
    with (
        TableWriter(out / "triplets.parquet", TRIPLETS) as triplets,
        TableWriter(out / "rejections.parquet", REJECTIONS) as rejections,
        workers(threads) as pool,
    ):
        scale = config.mine.scale(config.score.reranker)
        setting = Setting(inputs, scores, config.mine, scale, judge, pool, config.seed, _graded(context))
        for name in progress(inputs.tasks, "mine", unit="task"):
            task = TaskMining(TaskTexts.of(inputs, name, threads, stored), setting)
            sample = Sample.draw(task.texts, config.seed)
            task.mine(triplets, rejections, sample)
            sections.append(task_section(task.found, task.texts, sample, setting))
            tasks.append(task.found)
            del task, sample  # or this task's sketches would stay while the next one's are made
    refuse_chance([task.ranking for task in tasks], str(scores))
    _refuse_none(tasks)
    _write_evidence(out, tasks)
    write_report(out / "report.html", sections, config.mine, scale)
    metrics = _metrics(tasks)
    log_counts(metrics, sum(task.tally.candidates for task in tasks))
    return metrics


def _graded(context: StageContext) -> frozenset[str]:
    """Names of the sts tasks; read where something is relabelled."""
    if context.config.mine.false_negatives != "relabel":
        return frozenset()
    tasks = read_tasks(context.outputs / "prepare" / "tasks.yaml")
    return frozenset(name for name, task in tasks.items() if task.kind == "sts")


def _refuse_none(tasks: list[Mined]) -> None:
    """Raise UserError when no task has a negative; log the tasks that have none."""
    bare = [task for task in tasks if task.tally.kept == 0]
    for task in bare:
        log.warning("%s: no negative: %s; %s", task.name, _refusals(task), _cure(task))
    if len(bare) == len(tasks):
        raise UserError(
            f"mine: not one negative is left: {'; '.join(f'{task.name}: {_refusals(task)}' for task in tasks)}; "
            f"{_cure(tasks[0])}"
        )


def _cure(task: Mined) -> str:
    """The setting that gives a task negatives, by the rule that rejected most."""
    rule = next((name for name, _ in task.tally.reasons.most_common(1)), None)
    return _CURES.get(rule or "", "add documents, or raise retrieve.depth")


def _refusals(task: Mined) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in task.tally.reasons.most_common())
    return f"{task.tally.candidates:,} candidates, rejected: {counts or 'none'}"


def _write_evidence(out: Path, tasks: list[Mined]) -> None:
    suspicious = pl.concat([rows for task in tasks for rows in task.suspicious])
    suspicious = suspicious.sort(["share_above", "query", "document"], descending=[True, False, False])
    suspicious.write_parquet(out / "suspicious.parquet", compression="zstd", statistics=False)
    judgements = [rows for task in tasks for rows in task.judgements]
    if judgements:
        write_table(collect_judgements(judgements), out / "judgements.parquet", JUDGEMENTS)
    margins = {task.name: task.margin.margin for task in tasks}
    (out / "margins.json").write_text(json.dumps(margins, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _metrics(tasks: list[Mined]) -> dict[str, float]:
    fitted = [(task.name, task.margin) for task in tasks]
    return {
        **collect_metrics({task.name: task.tally for task in tasks}),
        **{f"margin/{name}": margin.margin for name, margin in fitted},
        **{f"margin_fitted/{name}": 1.0 for name, margin in fitted if margin.fitted},
        **{f"positive_outranks/{task.name}": task.ranking.mean for task in tasks if task.ranking.queries},
        **{f"estimated_false_negative_rate/{name}": margin.rate for name, margin in fitted if margin.rate is not None},
    }
