"""Mean, category means and Borda rank of a model among the public models of MTEB(eng, v2).

The public scores ship with the package (`public/`, CC0, with their source and date). Refresh them from a checkout of
https://github.com/embeddings-benchmark/results:

    foundry public-scores CHECKOUT
"""

import gzip
import io
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.base.errors import UserError
from components.statistics.borda import borda_ranks
from components.statistics.paired import category_means

BENCHMARK = "MTEB(eng, v2)"
PUBLIC = Path(__file__).parent / "public"
_TABLE, _NOTE = "mteb_eng_v2.csv.gz", "mteb_eng_v2.md"
_OURS = "\0ours"  # no public model is called this
_COLUMNS = ("model", "revision", "task", "task_type", "score")

_DESCRIPTION = """# Public scores on {benchmark}

`{table}`: main scores (0..1) of {models} public models on the {tasks} tasks of {benchmark}, {rows} rows;
{complete} models have every task, and the others are kept because Borda ranks count them.
Columns: {columns}.

- Source: https://github.com/embeddings-benchmark/results, commit {commit}, {date}.
- Licence of the source: CC0 1.0.
- Taken with mteb {mteb}: models of its registry (as its leaderboard does), `ResultCache.load_results` with
  `validate_and_filter` (the benchmark's splits and subsets only), `join_revisions` (the registered revision first, then
  the newest mteb version), mean over subsets, 6 digits. Some scores are self-reported (revision `external`).

Refresh: `foundry public-scores CHECKOUT`.
"""


@dataclass(frozen=True)
class Standing:
    """Means in 0..1. `borda_rank` (1 = best, of `models` with ours) is None unless the tasks are the benchmark's."""

    mean_task: float
    mean_type: float
    categories: dict[str, float]
    borda_rank: int | None
    models: int | None


def public_scores() -> pl.DataFrame:
    """The shipped table: columns model, revision, task, task_type, score (0..1); sorted by model and task."""
    return pl.read_csv(PUBLIC / _TABLE)


def rank_among_public(
    scores: Mapping[str, float], categories: Mapping[str, str], public: pl.DataFrame | None = None
) -> Standing:
    """Means and rank of `scores` (0..1 by task); `categories` maps a task to its category."""
    means = category_means(scores, categories)
    table = public_scores() if public is None else public
    rank = models = None
    if set(scores) == set(table["task"].unique()):
        ours = pl.DataFrame({"model": [_OURS] * len(scores), "task": list(scores), "score": list(scores.values())})
        ranks = borda_ranks(pl.concat([table.select("model", "task", "score"), ours]))
        rank, models = ranks[_OURS], len(ranks)
    return Standing(
        mean_task=sum(scores.values()) / len(scores),
        mean_type=sum(means.values()) / len(means),
        categories=means,
        borda_rank=rank,
        models=models,
    )


def public_standing(model: str, public: pl.DataFrame | None = None) -> Standing:
    """The standing of a public model among the models of the table. Raises UserError if it is not in the table."""
    table = public_scores() if public is None else public
    rows = table.filter(pl.col("model") == model)
    if rows.is_empty():
        raise UserError(f"{PUBLIC / _TABLE}: field model: no rows of {model!r}")
    scores = dict(rows.select("task", "score").iter_rows())
    means = category_means(scores, dict(rows.select("task", "task_type").iter_rows()))
    ranks = borda_ranks(table)
    return Standing(
        mean_task=sum(scores.values()) / len(scores),
        mean_type=sum(means.values()) / len(means),
        categories=means,
        borda_rank=ranks[model],
        models=len(ranks),
    )


def in_domain_tasks(tasks: Sequence[str], training: Iterable[str]) -> list[str]:
    """Benchmark tasks whose training data, or an adaptation of it, are in a training manifest.

    mteb's own rule for zero-shot: a task counts if it, or a task it was adapted from or superseded by, is named.
    Case, punctuation and an `owner/` before a data set's name are ignored.

    Args:
        tasks: task names of the benchmark.
        training: names of training tasks, or paths of their data sets ("mteb/fiqa").
    """
    from mteb.get_tasks import _TASKS_REGISTRY
    from mteb.models.model_meta import _collect_similar_tasks

    named = {_plain(name) for name in training}
    found = []
    for task in tasks:
        related = {task} | _collect_similar_tasks(task, set())
        paths = [_TASKS_REGISTRY[name].metadata.dataset["path"] for name in related if name in _TASKS_REGISTRY]
        if named & {_plain(name) for name in [*related, *paths]}:
            found.append(task)
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.rsplit("/", 1)[-1].lower() if letter.isalnum())


def refresh(checkout: Path, folder: Path = PUBLIC) -> pl.DataFrame:
    """Read a results checkout, write the table and its description into `folder`, and return the table.

    Raises:
        UserError: `checkout` has no `results/`, or no score of the benchmark.
    """
    if not (checkout / "results").is_dir():
        raise UserError(f"{checkout}: no folder results/; clone https://github.com/embeddings-benchmark/results")
    table = _read_checkout(checkout.resolve())
    if table.is_empty():
        raise UserError(f"{checkout / 'results'}: no result file of a {BENCHMARK} task; is the checkout complete?")
    folder.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as handle:  # no name, no date: same bytes
        handle.write(table.write_csv().encode())
    (folder / _TABLE).write_bytes(packed.getvalue())
    (folder / _NOTE).write_text(_describe(table, checkout), encoding="utf-8")
    return table


def _read_checkout(checkout: Path) -> pl.DataFrame:
    import mteb
    from mteb.models.model_implementations import MODEL_REGISTRY

    types = {task.metadata.name: task.metadata.type for task in mteb.get_benchmark(BENCHMARK).tasks}
    with tempfile.TemporaryDirectory() as temporary:  # mteb looks for <cache>/remote/results
        (Path(temporary) / "remote").symlink_to(checkout)
        cache = mteb.ResultCache(temporary)
        results = cache.load_results(
            tasks=BENCHMARK, require_model_meta=False, only_main_score=True, validate_and_filter=True
        )
        joined = results.join_revisions()
    if not any(model.task_results for model in joined):
        return pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    frame = joined.to_dataframe(format="long", include_model_revision=True)
    table = pl.from_pandas(frame).rename({"model_name": "model", "model_revision": "revision", "task_name": "task"})
    listed = pl.col("model").is_in(list(MODEL_REGISTRY)) & pl.col("score").is_finite()
    table = table.filter(listed).with_columns(pl.col("score").round(6))
    types_of = pl.col("task").replace_strict(types).alias("task_type")
    return table.with_columns(types_of).select(_COLUMNS).sort("model", "task")


def _describe(table: pl.DataFrame, checkout: Path) -> str:
    from importlib.metadata import version

    tasks = table["task"].n_unique()
    git = ["git", "-C", str(checkout), "log", "-1", "--format=%H %cs"]
    answer = subprocess.run(git, capture_output=True, text=True, check=False)
    commit, date = answer.stdout.split() if answer.returncode == 0 else ("unknown", "date unknown")
    return _DESCRIPTION.format(
        benchmark=BENCHMARK,
        table=_TABLE,
        models=table["model"].n_unique(),
        tasks=tasks,
        rows=f"{table.height:,}",
        complete=(table.group_by("model").len()["len"] == tasks).sum(),
        columns=", ".join(_COLUMNS),
        commit=commit,
        date=date,
        mteb=version("mteb"),
    )
