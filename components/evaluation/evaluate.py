"""Stage `evaluate`: base student, trained student and teacher on the same tasks, through mteb.

results/<model>/<revision>/<task>.json   mteb's own layout
scores.parquet                           model, task, category, metric, score
examples.parquet                         model, task, example_id, score, replicate: for paired statistics
worst_queries.parquet                    retrieval tasks: the worst queries and what was retrieved
cost.json                                tokens by model and task
prompts.yaml                             the prompt of each task for the trained model, and where it came from
table.json                               what `make run` prints at its end
outputs/                                 the same tables of int8, binary and shorter vectors (`evaluate.outputs`)
report.html                              the whole, to look at
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.base.progress import bar
from components.benchmark.adapter import FoundryModel
from components.benchmark.prompts import prompt_table, without_shots
from components.benchmark.tasks import Benchmark, load_benchmark
from components.config import EvaluateParams
from components.contracts.shots import EvaluatedPrompt, count_prompts, read_shots, write_prompts
from components.contracts.tables import QUERIES, read_table
from components.evaluation.collect import Finished, collect
from components.evaluation.outputs import FULL, collect_outputs, outputs_table, score_outputs
from components.evaluation.planner import Lengths, embed_plan, plan_embedding
from components.evaluation.scoring import Scorer, scoring_pool
from components.evaluation.table import summary_table
from components.model.backbone import load_tokenizer
from components.model.encoder import EncoderSource
from components.model.load_once import ModelSource, load_once
from components.model.prompt import Prompt
from components.model.sentence_model import SentenceSource
from components.stage.context import StageContext
from components.statistics.outputs import check_output

log = logging.getLogger(__name__)
MODELS = ("base", "trained", "teacher")


def run(context: StageContext) -> dict[str, float]:
    """Evaluate, write the tables and the report; returns scores by model and task, and the gain of training."""
    from components.evaluation.report import write_report

    benchmark = load_benchmark(context.config.evaluate, context.outputs / "prepare" / "benchmark")
    prompts = read_prompt_table(benchmark, context)
    for output in context.config.evaluate.outputs:
        if output != FULL:
            check_output(output, load_once(_source("trained", context)).dimension)
    finished = [_finish(name, benchmark, prompts, context) for name in MODELS]
    collect(finished, context.out)
    write_prompts(prompts, context.out / "prompts.yaml")
    table = summary_table(context.out, context.config.seed, prompts)
    if list(context.config.evaluate.outputs) != [FULL]:
        table["outputs"] = _outputs(benchmark, prompts, context)
    (context.out / "table.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    seconds = {model.name: model.seconds for model in finished}
    training = _training_tasks(context.outputs, prompts)
    page = write_report(context.out, training, context.config.seed, seconds, prompts, table.get("outputs", ()))
    context.publish("report.html", page)
    return _metrics(table)


def _outputs(
    benchmark: Benchmark, prompts: Mapping[str, EvaluatedPrompt], context: StageContext
) -> list[dict[str, Any]]:
    """Score the smaller forms of the trained model's vectors, and write their tables."""
    params, source = context.config.evaluate, _source("trained", context)
    model = _model("trained", source, prompts, context)
    reader = load_once(source).reader()
    folders = score_outputs(params.outputs, model, reader, benchmark, context.work, params.scoring_processes)
    collect_outputs(folders, context.out)
    return outputs_table(params.outputs, context.out, reader.dimension, context.config.seed)


def read_prompt_table(benchmark: Benchmark, context: StageContext) -> dict[str, EvaluatedPrompt]:
    """The prompt of every task, and a line in the log: how many have which kind. Raises UserError as `prompt_table`."""
    shots = context.outputs / "select_shots" / "shots.yaml"
    prompts = prompt_table(benchmark, read_shots(shots), context.config.evaluate.shots)
    _check_stated_shots_fit(prompts, context)
    counts = count_prompts(prompts)
    log.info(
        "prompts of %(tasks)s tasks: %(served_by_a_training_task)s of a training task; shots chosen by select_shots "
        "for %(shots_from_selection)s, stated for %(shots_stated)s, none for %(zero_shot)s; instruction seen in "
        "training: %(instruction_seen_in_training)s",
        counts,
    )
    return prompts


def _check_stated_shots_fit(prompts: Mapping[str, EvaluatedPrompt], context: StageContext) -> None:
    """Chosen shots fit; raise UserError for stated ones that do not, before the first model is evaluated."""
    stated = {task: one.prompt for task, one in prompts.items() if one.shots_from == "stated"}
    if not stated:
        return
    params = context.config.prompt
    prompt = Prompt(load_tokenizer(context.outputs / "fetch" / "models" / "student", params), params)
    for task, one in stated.items():
        try:
            prompt.prefix_ids(one.instruction, one.shots)
        except UserError as problem:
            raise UserError(f"evaluate.shots.{task}: {problem}") from None


def _finish(name: str, benchmark: Benchmark, prompts: Mapping[str, EvaluatedPrompt], context: StageContext) -> Finished:
    """Load the model `name`, score it on every task, log what it took."""
    start = time.monotonic()
    source = _source(name, context)
    model = _model(name, source, prompts, context)
    folder = context.work / name / model.revision
    cost = evaluate_model(name, model, source, benchmark, folder, context.config.evaluate)
    asked = sum(task["plain"] for task in cost.values())
    spent = {
        "tokens_plain": float(asked),
        "tokens_embedded": float(model.encoder.tokens),
        "seconds": time.monotonic() - start,
    }
    context.log({f"{name}.{what}": value for what, value in spent.items()}, None)
    log.info(
        "%s: %s tasks, %s tokens embedded of %s asked for, %.0f s",
        name,
        len(cost),
        f"{model.encoder.tokens:,}",
        f"{asked:,}",
        spent["seconds"],
    )
    return Finished(name, model.revision, folder, model.mteb_model_meta.to_dict(), cost, spent["seconds"])


def evaluate_model(
    name: str,
    model: FoundryModel,
    source: ModelSource,
    benchmark: Benchmark,
    folder: Path,
    params: EvaluateParams,
) -> dict[str, dict[str, int]]:
    """Embed the plan and score its tasks into `folder`; returns the token counts of each task.

    A task is scored as soon as its texts and those of the tasks before it are embedded: by `scoring_processes` while
    the next ones are embedded, or by this process in between.
    """
    plan = plan_embedding(benchmark.makers, model.prompts, Lengths(model.encoder.prompt))
    scorer = Scorer(name, load_once(source).reader(), model.prompts, model.settings, folder)
    what = f"{name}: embed and score"
    with bar(what, plan.texts, "text") as shown, scoring_pool(model, scorer, params.scoring_processes) as score:
        embed_plan(plan, source, params.engine, what, shown.update, score)
    return {task.name: task.cost for task in plan.tasks}


def _training_tasks(outputs: Path, prompts: Mapping[str, EvaluatedPrompt]) -> list[str]:
    """Names of the tasks that have training queries, and of the benchmark tasks they serve, for the in-domain share."""
    queries = read_table(outputs / "prepare" / "queries.parquet", QUERIES, ("row", "task", "split"))
    trained = queries.filter(pl.col("split") == "train")["task"].unique().sort().to_list()
    return [*trained, *(task for task, one in prompts.items() if one.served_by)]


def _model(
    name: str, source: ModelSource, prompts: Mapping[str, EvaluatedPrompt], context: StageContext
) -> FoundryModel:
    """The model `name` with its prompts: shots only for the trained student, which learned to read them."""
    own = {task: one.prompt if name == "trained" else without_shots(one.prompt) for task, one in prompts.items()}
    return FoundryModel(name, load_once(source), own, context.config.prompt.model_dump(mode="json"))


def _source(name: str, context: StageContext) -> EncoderSource | SentenceSource:
    config, models, store = context.config, context.outputs / "fetch" / "models", context.cache / "vectors"
    if name == "teacher":
        return SentenceSource(models / config.evaluate.teacher, store, config.encoder.device)
    adapter = context.outputs / "train" / "adapter" if name == "trained" else None
    return EncoderSource(models / "student", store, config.prompt, config.encoder, adapter)


def _metrics(table: dict[str, Any]) -> dict[str, float]:
    metrics = {}
    for row in table["rows"]:
        for model, cell in row["models"].items():
            metrics[f"{model}.{row['task']}.{row['metric']}"] = cell["score"]
    for model, cell in table["mean"].items():
        metrics[f"{model}.mean"] = cell["score"]
    for row in table.get("outputs", ()):
        metrics |= {f"trained.{row['output']}.{what}": row[what] for what in ("mean", "difference") if what in row}
    metrics |= {f"prompts.{what}": float(number) for what, number in table["prompts"]["counts"].items()}
    gain = table["gain"]
    return {**metrics, "gain.mean": gain["score"], "gain.low": gain["low"], "gain.high": gain["high"]}
