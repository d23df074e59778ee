"""Stage `select_shots`: choose the few-shot examples of each trained task, and their number (0 or more).

Published results show that shots can lower a score, so the number is measured: every strategy at every number of
shots is scored on dev data with the trained model; the fewest shots within one standard error of the best are chosen.

    shots.yaml      per task: number, strategy, the examples, the dev score at each number of shots
    curve.csv       task, strategy, shots, score, standard_error, prefix_tokens: one row per prompt tried
    curve.svg       the same as a chart
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.base.progress import progress
from components.config import EngineParams, SelectShotsParams
from components.contracts.shots import ChosenShots, Shot, write_shots
from components.contracts.tables import TRIPLETS, read_table
from components.contracts.tasks import Task, read_tasks
from components.data.held_out import held_out_texts
from components.data.inputs import Inputs, read_inputs
from components.fewshot.choice import Tried, choose, curve
from components.fewshot.curve import curve_svg
from components.fewshot.dev import DevSet, dev_set
from components.fewshot.pool import Candidate, Guard, task_pool
from components.fewshot.strategies import STRATEGIES, Evidence
from components.model.embed_shard import Shard, Way, embed, embed_shard
from components.model.encoder import Encoder, EncoderSource
from components.model.load_once import ModelSource, load_once
from components.model.prompt import Prompt
from components.model.sentence_model import SentenceSource
from components.stage.context import StageContext
from components.stage.executor import run_shards

log = logging.getLogger(__name__)


ShotsToTry = dict[tuple[str, int], list[Shot]]  # by strategy and number


@dataclass(frozen=True)
class Selection:
    """Result for one task: the chosen shots, all scores, and prefix length by (strategy, shots)."""

    chosen: Tried
    shots: list[Shot]
    tried: list[Tried]
    prefix_tokens: dict[tuple[str, int], int]


def run(context: StageContext) -> dict[str, float]:
    """Choose shots for every task with training and dev queries; returns dev scores with and without shots."""
    config = context.config
    params, prepared = config.select_shots, context.outputs / "prepare"
    inputs, tasks = read_inputs(prepared), read_tasks(prepared / "tasks.yaml")
    found_dev = {name: dev_set(inputs, tasks[name], params.dev_queries, config.seed) for name in inputs.tasks}
    devs = {name: dev for name, dev in found_dev.items() if dev is not None}
    guard = Guard([*_test_texts(prepared / "benchmark"), *_dev_texts(inputs)])
    pools = {name: _clean_pool(inputs, tasks[name], guard, params, config.seed) for name in devs}
    evidence = _evidence(pools, context)
    models, store = context.outputs / "fetch" / "models", context.cache / "vectors"
    adapter = context.outputs / "train" / "adapter"
    student = EncoderSource(models / "student", store, config.prompt, config.encoder, adapter)
    encoder: Encoder = load_once(student)
    tried = {name: shots_to_try(evidence[name], encoder.prompt, tasks[name].instruction, params) for name in devs}
    shards = [shard for name, dev in devs.items() for shard in dev.shards(tried[name].values())]
    _embed(student, shards, "select shots: dev texts", params.engine)
    found: dict[str, Selection] = {}
    for name, dev in progress(list(devs.items()), "select shots", unit="task"):
        found[name] = select(dev, tried[name], encoder)
        for one in found[name].tried:
            context.log({f"{name}.dev.{one.strategy}": one.mean}, one.shots)  # a curve over the number of shots
    for name, selection in found.items():
        log.info(
            "%s: %s shots (%s), dev %.4f; without shots %.4f",
            name,
            selection.chosen.shots,
            selection.chosen.strategy,
            selection.chosen.mean,
            selection.tried[0].mean,
        )
    _write(found, tasks, context)
    return _metrics(found)


def _embed(source: ModelSource, shards: Sequence[Shard], what: str, engine: EngineParams) -> None:
    """Bring the texts into the store, wherever the engine runs."""
    parts = [part for shard in shards for part in shard.parts(engine.shard)]
    run_shards(embed_shard, [(source, part) for part in parts], what, engine, None)


def shots_to_try(evidence: Evidence, prompt: Prompt, instruction: str, params: SelectShotsParams) -> ShotsToTry:
    """Every strategy's first 0 to max_shots examples."""
    tried: ShotsToTry = {("none", 0): []}
    for strategy in params.strategies:
        order = STRATEGIES[strategy](evidence)
        examples = select_fitting_shots(order, evidence.candidates, prompt, instruction, params.max_shots)
        for number in range(1, len(examples) + 1):
            tried[strategy, number] = examples[:number]
    return tried


def select(dev: DevSet, shots: ShotsToTry, encoder: Encoder) -> Selection:
    """Score the prompts and choose."""
    tried = [Tried(strategy, number, dev.scores(encoder, own)) for (strategy, number), own in shots.items()]
    chosen = choose(tried)
    lengths = {key: len(encoder.prompt.prefix_ids(dev.task.instruction, own)) for key, own in shots.items()}
    return Selection(chosen, shots[chosen.strategy, chosen.shots], tried, lengths)


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


def _clean_pool(inputs: Inputs, task: Task, guard: Guard, params: SelectShotsParams, seed: int) -> list[Candidate]:
    """The task's candidates that repeat no dev or test text; label names may occur in both."""
    labels = frozenset(inputs.corpus.filter(pl.col("label") == pl.col("text"))["text"].to_list())
    return guard.clean(task_pool(inputs, task.name, params.pool, seed), labels)


def _test_texts(benchmark: Path) -> list[str]:
    texts: list[str] = []
    for path in sorted(benchmark.glob("*.parquet")):
        task, _, table = path.stem.rpartition(".")
        texts += held_out_texts(task, {table: pl.read_parquet(path)}).values()
    return texts


def _dev_texts(inputs: Inputs) -> list[str]:
    queries = inputs.queries.filter(pl.col("split") == "dev")["text"].to_list()
    return [*queries, *inputs.corpus.filter(pl.col("split") == "dev")["text"].to_list()]


def _teacher_scores(context: StageContext) -> dict[tuple[int, int], float]:
    """Raw teacher score by (query, positive); empty unless strategy reranker_best is used."""
    if "reranker_best" not in context.config.select_shots.strategies:
        return {}
    triplets = read_table(context.outputs / "mine" / "triplets.parquet", TRIPLETS)
    rows = triplets.select("query", "positive", "positive_score").iter_rows()
    return {(query, document): score for query, document, score in rows}


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
    teacher, scores = load_once(source), _teacher_scores(context)
    return {
        name: Evidence(
            pool,
            embed(teacher, queries[name]),
            embed(teacher, responses[name]),
            np.array([scores.get((one.query_row, one.document_row), np.nan) for one in pool]),
        )
        for name, pool in pools.items()
    }


def _write(found: dict[str, Selection], tasks: dict[str, Task], context: StageContext) -> None:
    entries: dict[str, ChosenShots] = {}
    rows: list[dict[str, Any]] = []
    for name, selection in found.items():
        entries[name] = ChosenShots(
            selection.chosen.strategy,
            tasks[name].instruction,
            selection.shots,
            curve(selection.tried, _shown_strategy(selection)),
        )
        rows += [
            {
                "task": name,
                "strategy": one.strategy,
                "shots": one.shots,
                "score": round(one.mean, 6),
                "standard_error": round(one.standard_error, 6),
                "prefix_tokens": selection.prefix_tokens[one.strategy, one.shots],
            }
            for one in selection.tried
        ]
    write_shots(entries, context.out / "shots.yaml")
    pl.DataFrame(rows).write_csv(context.out / "curve.csv")
    chosen = {name: (one.chosen.strategy, one.chosen.shots) for name, one in found.items()}
    (context.out / "curve.svg").write_text(curve_svg(rows, chosen), encoding="utf-8")


def _shown_strategy(selection: Selection) -> str:
    """The strategy to plot: the chosen one, or the best one when no shots were chosen."""
    if selection.chosen.shots:
        return selection.chosen.strategy
    return max(selection.tried[1:], key=lambda one: one.mean, default=selection.chosen).strategy


def _metrics(found: dict[str, Selection]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, selection in found.items():
        metrics[f"{name}.number"] = float(selection.chosen.shots)
        metrics[f"{name}.dev_ndcg_at_10"] = round(selection.chosen.mean, 6)
        metrics[f"{name}.dev_ndcg_at_10_without"] = round(selection.tried[0].mean, 6)
    return metrics
