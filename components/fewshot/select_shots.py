"""Stage `select_shots`: choose the few-shot examples of each trained task, and their number (0 or more).

Published results show that shots can lower a score, so the number is measured: every strategy at every number of shots
that training draws is scored on dev data with the trained model, in the prompt that evaluation and serving use, by the
measure of the task's kind. Shots are taken where they are better than none beyond the luck of many tries (choice.py). A
task that nothing can be measured on gets none, with the reason in shots.yaml.

    shots.yaml      per task: number, strategy, prompt, the benchmark tasks it serves, the examples, the evidence
    curve.csv       task, strategy, shots, measure, score, standard_error, gain, p_value, prefix_tokens: a row a prompt
    curve.svg       the same as a chart
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.config import EngineParams, SelectShotsParams
from components.contracts.shots import ChosenShots, Shot, TaskPrompt, TrainedPrompt, write_shots
from components.contracts.streams import read_queries
from components.contracts.tables import TRIPLETS
from components.contracts.tasks import Task, read_tasks
from components.data.inputs import read_inputs
from components.data.shot_pool import Candidate, Guard, clean_pools, held_out_guard, inputs_of
from components.fewshot.choice import Choice, Tried, choose, curve
from components.fewshot.curve import curve_svg
from components.fewshot.dev import DevSet, NoMeasureError, dev_set
from components.fewshot.strategies import STRATEGIES, Evidence
from components.model.embed_shard import Shard, Way, embed, embed_shard
from components.model.encoder import Encoder, EncoderSource
from components.model.load_once import ModelSource, load_once
from components.model.prompt import Prompt
from components.model.sentence_model import SentenceSource
from components.stage.context import StageContext
from components.stage.executor import run_shards

log = logging.getLogger(__name__)
TRIPLETS_AT_ONCE = 1 << 16  # rows read at a time
CURVE: dict[str, type[pl.DataType]] = {
    "task": pl.String,
    "strategy": pl.String,
    "shots": pl.Int64,
    "measure": pl.String,
    "score": pl.Float64,
    "standard_error": pl.Float64,
    "gain": pl.Float64,
    "p_value": pl.Float64,
    "prefix_tokens": pl.Int64,
}
ShotsToTry = dict[tuple[str, int], list[Shot]]  # by strategy and number


@dataclass(frozen=True)
class Selection:
    """Result for one task: the choice, its shots, all scores, and prefix length by (strategy, shots)."""

    choice: Choice
    shots: list[Shot]
    tried: list[Tried]
    prefix_tokens: dict[tuple[str, int], int]
    measure: str


def run(context: StageContext) -> dict[str, float]:
    """Choose shots for every task with training queries; returns dev scores with and without shots."""
    config, prepared = context.config, context.outputs / "prepare"
    params, tasks = config.select_shots, read_tasks(prepared / "tasks.yaml")
    pools, devs, problems = _pools_and_dev_sets(prepared, tasks, params, config.seed)
    evidence = _evidence(pools, context)
    models, store = context.outputs / "fetch" / "models", context.cache / "vectors"
    adapter = context.outputs / "train" / "adapter"
    student = EncoderSource(models / "student", store, config.prompt, config.encoder, adapter)
    encoder: Encoder = load_once(student)
    tried = {
        name: shots_to_try(evidence[name], encoder.prompt, tasks[name].instruction, params, config.shots_tried)
        for name in devs
    }
    shards = [shard for name, dev in devs.items() for shard in dev.shards(tried[name].values())]
    _embed(student, shards, "select shots: dev texts", params.engine)
    found: dict[str, Selection] = {}
    for name, dev in progress(list(devs.items()), "select shots", unit="task"):
        found[name] = select(dev, tried[name], encoder, config.seed)
        for one in found[name].tried:
            context.log({f"{name}.dev.{one.strategy}": one.mean}, one.shots)  # a curve over the number of shots
        log.info("%s: %s", name, _summary(found[name]))
    _write(found, problems, tasks, context.out)
    return _metrics(found, problems)


def _pools_and_dev_sets(
    prepared: Path, tasks: Mapping[str, Task], params: SelectShotsParams, seed: int
) -> tuple[dict[str, list[Candidate]], dict[str, DevSet], dict[str, str]]:
    """By task: candidates for shots, dev data, and why a task has none of it, which is logged.

    The texts of one task are in memory at a time.
    """
    guard = held_out_guard(prepared)
    pools: dict[str, list[Candidate]] = {}
    devs: dict[str, DevSet] = {}
    problems: dict[str, str] = {}
    for name in read_inputs(prepared, texts=False).tasks:
        found = _pool_and_dev_set(prepared, tasks[name], guard, params, seed)
        if isinstance(found, str):
            problems[name] = found
            log.warning("%s: no shots: %s", name, found)
        else:
            pools[name], devs[name] = found
    return pools, devs, problems


def _pool_and_dev_set(
    prepared: Path, task: Task, guard: Guard, params: SelectShotsParams, seed: int
) -> tuple[list[Candidate], DevSet] | str:
    """Candidates and dev data of one task, or why it has none."""
    inputs = inputs_of(prepared, task.name)
    pools, problems = clean_pools(inputs, {task.name: task}, guard, params.pool, seed)
    if problems:
        return problems[task.name]
    try:
        return pools[task.name], dev_set(inputs, task, params.dev_queries, seed, pools[task.name])
    except NoMeasureError as problem:
        return str(problem)


def _summary(one: Selection) -> str:
    taken = one.choice.taken
    return (
        f"{taken.shots} shots ({taken.strategy}), dev {one.measure} {taken.mean:.4f}; without shots "
        f"{one.tried[0].mean:.4f}; {len(one.tried) - 1} prompts with shots tried, smallest p {one.choice.p_value:.3f}"
    )


def _embed(source: ModelSource, shards: Sequence[Shard], what: str, engine: EngineParams) -> None:
    """Bring the texts into the store, wherever the engine runs."""
    parts = [part for shard in shards for part in shard.parts(engine.shard)]
    run_shards(embed_shard, [(source, part) for part in parts], what, engine, None)


def shots_to_try(
    evidence: Evidence, prompt: Prompt, instruction: str, params: SelectShotsParams, most: int
) -> ShotsToTry:
    """Every strategy's first 0 to `most` examples."""
    tried: ShotsToTry = {("none", 0): []}
    for strategy in params.strategies:
        order = STRATEGIES[strategy](evidence)
        examples = select_fitting_shots(order, evidence.candidates, prompt, instruction, most)
        for number in range(1, len(examples) + 1):
            tried[strategy, number] = examples[:number]
    return tried


def select(dev: DevSet, shots: ShotsToTry, encoder: Encoder, seed: int) -> Selection:
    """Score the prompts and choose."""
    tried = [Tried(strategy, number, dev.values(encoder, own)) for (strategy, number), own in shots.items()]
    choice = choose(tried, seed)
    lengths = {key: len(encoder.prompt.prefix_ids(dev.task.instruction, own)) for key, own in shots.items()}
    taken = choice.taken
    return Selection(choice, shots[taken.strategy, taken.shots], tried, lengths, dev.measure.name)


def select_fitting_shots(
    order: Sequence[int], candidates: Sequence[Candidate], prompt: Prompt, instruction: str, most: int
) -> list[Shot]:
    """The first `most` candidates, in order, whose prefix fits `prompt.prefix_tokens`; each query text once."""
    shots: list[Shot] = []
    seen: set[str] = set()
    for i in order:
        if len(shots) == most:
            break
        one = candidates[i]
        shot = Shot(prompt.clip(one.query), prompt.clip(one.response))
        if one.query in seen or not _fits(prompt, instruction, [*shots, shot]):
            continue
        shots.append(shot)
        seen.add(one.query)
    return shots


def _fits(prompt: Prompt, instruction: str, shots: list[Shot]) -> bool:
    try:
        prompt.prefix_ids(instruction, shots)
    except UserError:
        return False
    return True


def _teacher_scores(pools: Mapping[str, list[Candidate]], context: StageContext) -> dict[tuple[int, int], float]:
    """Raw teacher score by (query, positive) of the candidates; empty unless strategy reranker_best is used."""
    asked = sorted({one.query_row for pool in pools.values() for one in pool})
    if "reranker_best" not in context.config.select_shots.strategies or not asked:
        return {}
    file, scores = context.outputs / "mine" / "triplets.parquet", {}
    for part in read_queries(file, TRIPLETS, asked[0], asked[-1], TRIPLETS_AT_ONCE):
        rows = part.filter(pl.col("query").is_in(asked)).select("query", "positive", "positive_score").iter_rows()
        scores |= {(query, document): score for query, document, score in rows}
    return scores


def _evidence(pools: dict[str, list[Candidate]], context: StageContext) -> dict[str, Evidence]:
    """By task: the dense teacher's vectors of its pool, and the scores it has."""
    config = context.config
    params, models = config.select_shots, context.outputs / "fetch" / "models"
    queries = {name: Shard(Way(False), [one.query for one in pool]) for name, pool in pools.items()}
    responses = {
        name: Shard(Way(document=True), [one.response for one in pool if "hard" in params.strategies])
        for name, pool in pools.items()
    }
    source = SentenceSource(models / params.teacher, context.cache / "vectors", config.encoder.device)
    shards = [*queries.values(), *responses.values()]
    _embed(source, shards, "select shots: training texts", params.engine)
    teacher, scores = load_once(source), _teacher_scores(pools, context)
    return {
        name: Evidence(
            pool,
            embed(teacher, queries[name]),
            embed(teacher, responses[name]),
            np.array([scores.get((one.query_row, one.document_row), np.nan) for one in pool]),
        )
        for name, pool in pools.items()
    }


def _write(found: dict[str, Selection], problems: dict[str, str], tasks: dict[str, Task], out: Path) -> None:
    """shots.yaml has every trained task, since it holds the prompts that benchmark tasks get; the curve those tried."""
    entries = {name: _entry(tasks[name], one) for name, one in found.items()}
    entries |= {
        name: ChosenShots("none", trained_prompt(tasks[name], ()), {"no_shots_because": why})
        for name, why in problems.items()
    }
    write_shots(dict(sorted(entries.items())), out / "shots.yaml")
    rows = [row for name, selection in found.items() for row in _curve_rows(name, selection)]
    pl.DataFrame(rows, schema=CURVE).write_csv(out / "curve.csv")
    chosen = {name: (one.choice.taken.strategy, one.choice.taken.shots) for name, one in found.items()}
    (out / "curve.svg").write_text(curve_svg(rows, chosen), encoding="utf-8")


def _entry(task: Task, one: Selection) -> ChosenShots:
    evidence = {
        "measure": one.measure,
        "dev_scores": dict(curve(one.tried, _shown_strategy(one))),
        "dev_examples": len(one.tried[0].scores),
        "prompts_tried": len(one.tried) - 1,
        "p_value": round(one.choice.p_value, 6),
    }
    return ChosenShots(one.choice.taken.strategy, trained_prompt(task, one.shots), evidence)


def _curve_rows(name: str, selection: Selection) -> list[dict[str, Any]]:
    zero = selection.tried[0]
    return [
        {
            "task": name,
            "strategy": one.strategy,
            "shots": one.shots,
            "measure": selection.measure,
            "score": round(one.mean, 6),
            "standard_error": round(one.standard_error, 6),
            "gain": round(one.mean - zero.mean, 6),
            "p_value": round(p_value, 6),
            "prefix_tokens": selection.prefix_tokens[one.strategy, one.shots],
        }
        for one, p_value in zip(selection.tried, selection.choice.p_values, strict=True)
    ]


def trained_prompt(task: Task, shots: Sequence[Shot]) -> TrainedPrompt:
    """The task's prompt with these shots, and the benchmark tasks that get it."""
    return TrainedPrompt(TaskPrompt(task.instruction, task.symmetric, tuple(shots)), task.in_domain)


def _shown_strategy(selection: Selection) -> str:
    """The strategy to plot: the chosen one, or the best one when no shots were chosen."""
    taken = selection.choice.taken
    return taken.strategy if taken.shots else max(selection.tried[1:], key=lambda one: one.mean, default=taken).strategy


def _metrics(found: dict[str, Selection], problems: dict[str, str]) -> dict[str, float]:
    metrics = {f"{name}.number": 0.0 for name in problems}
    for name, one in found.items():
        metrics[f"{name}.number"] = float(one.choice.taken.shots)
        metrics[f"{name}.p_value"] = round(one.choice.p_value, 6)
        metrics[f"{name}.dev_{one.measure}"] = round(one.choice.taken.mean, 6)
        metrics[f"{name}.dev_{one.measure}_without"] = round(one.tried[0].mean, 6)
    few_shot = sum(one.choice.taken.shots > 0 for one in found.values())
    return {**metrics, "tasks_with_shots": float(few_shot), "tasks_not_measured": float(len(problems))}
