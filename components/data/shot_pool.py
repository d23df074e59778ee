"""Candidates for shots: training pairs of a task that are good examples of it and repeat no dev or test text.

`prepare` looks for them too, and says which tasks have none before anything is trained.
"""

import heapq
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.base.overlap import normalise, word_trigrams
from components.contracts.shots import shot_response
from components.contracts.tasks import Task, read_tasks
from components.data.held_out import held_out_texts
from components.data.inputs import Inputs
from components.data.splits import rank

log = logging.getLogger(__name__)
MIN_WORDS = 6  # shorter texts are compared for equality only
NEAR = 0.6  # shared fraction of the shorter text's word trigrams from which two texts count as the same
LEAST_DEV = 6  # dev queries: with fewer no difference can be significant at 5 % (2^-5 is 3 %, and ties cost)
LOOKED_AT = 100  # training pairs of a task that prepare looks at, as many as select_shots.pool has by default
TOP_GRADES = 0.8  # of a graded task's best grade, where it states no positive_score: 4 of 5 in STS


@dataclass(frozen=True)
class Candidate:
    """A training query and its positive: their rows, texts and label."""

    query_row: int
    document_row: int
    query: str
    response: str
    label: str | None


def task_pool(inputs: Inputs, task: Task, size: int, seed: int) -> list[Candidate]:
    """`size` training pairs of a task (the best-graded one of a query), in an order of their ids and the seed only.

    A pair below the positive grade is none: it would show the model an answer that is not one.
    """
    queries = labelled_queries(inputs, task).filter(pl.col("split") == "train")
    documents = inputs.corpus.select(document="row", document_text="text")
    pairs = best_pairs(inputs, task).join(documents.select("document"), on="document", how="semi")
    pairs = pairs.join(queries, left_on="query", right_on="row")
    first = heapq.nsmallest(size, pairs["query_id"], key=lambda name: rank(seed, f"shots-{task.name}", name))
    chosen = pl.DataFrame({"query_id": first}, schema={"query_id": pl.String}).join(
        pairs, on="query_id", how="left", maintain_order="left"
    )
    chosen = chosen.join(documents, on="document", how="left", maintain_order="left")
    return [
        Candidate(query, document, text, shot_response(task.kind, answer, label), label)
        for query, document, text, answer, label in chosen.select(
            "query", "document", "text", "document_text", "label"
        ).iter_rows()
    ]


def best_pairs(inputs: Inputs, task: Task) -> pl.DataFrame:
    """query, document: the best-graded positive of each query of the task; none where all are below the grade."""
    own = inputs.queries.filter(pl.col("task") == task.name).select(query="row")
    graded = inputs.qrels.join(own, on="query", how="semi")
    return _best(graded.filter(pl.col("relevance") >= positive_grade(task, graded)))


def _best(judged: pl.DataFrame) -> pl.DataFrame:
    """query, document: the best-graded pair of each query, of those above 0."""
    best = judged.filter(pl.col("relevance") > 0)
    best = best.sort("query", "relevance", "document", descending=[False, True, False])
    return best.unique("query", keep="first", maintain_order=True).select("query", "document")


def positive_grade(task: Task, graded: pl.DataFrame) -> float:
    """The grade from which on a pair may be shown as an example."""
    if task.positive_score is not None:
        return task.positive_score
    most = graded["relevance"].max() if task.kind == "sts" else None
    return TOP_GRADES * float(most) if isinstance(most, float) else 0.0


def labelled_queries(inputs: Inputs, task: Task) -> pl.DataFrame:
    """The task's queries: row, query_id, text, split, label.

    In a classification task whose pairs have no `label`, the positives are the names of the labels. They are texts of
    the same sort as the queries if nearly every query has its own; then there are no labels.
    """
    queries = inputs.queries.filter(pl.col("task") == task.name).select("row", "query_id", "text", "split", "label")
    if task.kind != "classification" or queries["label"].null_count() < len(queries):
        return queries
    first = _best(inputs.qrels.join(queries, left_on="query", right_on="row", how="semi"))
    names = first.join(inputs.corpus.select(document="row", name="text"), on="document").select(
        row="query", name="name"
    )
    named = queries.join(names, on="row", how="left", maintain_order="left")
    if named["name"].n_unique() > len(named) / 2:
        return queries
    return named.with_columns(label="name").drop("name")


def shots_problem(inputs: Inputs, task: Task, pool: Sequence[Candidate], looked_at: int) -> str | None:
    """Why no shots can be chosen for a task, in words for the log; None if nothing is known to prevent it.

    Args:
        pool: its candidates after `Guard.clean`.
        looked_at: how many there were before.
    """
    queries = labelled_queries(inputs, task)
    dev = queries.filter(pl.col("split") == "dev")
    labels = queries["label"].drop_nulls().n_unique()
    if len(dev) < LEAST_DEV:
        return f"{len(dev)} dev queries, and a choice takes {LEAST_DEV}; raise prepare.tasks.{task.name}.dev"
    if task.kind in ("classification", "clustering") and labels == 1:
        return "all texts have one label, so no prompt is better than another"
    if not looked_at:
        return "no training pair reaches the positive grade"
    if not pool:
        return f"each of {looked_at} training pairs repeats a dev or test text, wholly or nearly"
    return None


def held_out_guard(prepared: Path) -> "Guard":
    """The guard over the dev and test texts in outputs/prepare."""
    texts: list[str] = []
    for table in ("queries", "corpus"):
        rows = pl.scan_parquet(prepared / f"{table}.parquet").filter(pl.col("split") == "dev")
        texts += rows.select("text").collect()["text"].to_list()
    for path in sorted((prepared / "benchmark").glob("*.parquet")):
        task, _, table = path.stem.rpartition(".")
        texts += held_out_texts(task, {table: pl.read_parquet(path)}).values()
    return Guard(texts)


def clean_pools(
    inputs: Inputs, tasks: Mapping[str, Task], guard: "Guard", size: int, seed: int
) -> tuple[dict[str, list[Candidate]], dict[str, str]]:
    """(by task: candidates that repeat no dev or test text, by task: why it gets no shots).

    Label names may occur in dev and test.
    """
    pools: dict[str, list[Candidate]] = {}
    problems: dict[str, str] = {}
    names = frozenset(inputs.corpus.filter(pl.col("label") == pl.col("text"))["text"])
    for name in inputs.tasks:
        found = task_pool(inputs, tasks[name], size, seed)
        answers = names | {one.label for one in found if one.label is not None}
        clean = guard.clean(found, answers)
        problem = shots_problem(inputs, tasks[name], clean, len(found))
        if problem is None:
            pools[name] = clean
        else:
            problems[name] = problem
    return pools, problems


class Guard:
    """Index of the held-out texts that detects exact and near copies.

    Two texts are the same when they are equal after normalisation, or when the shorter one (of MIN_WORDS or more)
    shares at least NEAR of its word trigrams with the longer: a quote, an excerpt or a lightly edited copy.
    """

    def __init__(self, held_out: Iterable[str]) -> None:
        self._texts: set[str] = set()
        self._ngrams: list[frozenset[str]] = []
        self._index: dict[str, list[int]] = {}
        for text in held_out:
            plain = normalise(text, punctuation=True)
            if plain in self._texts:
                continue
            self._texts.add(plain)
            pieces = word_trigrams(plain, min_words=MIN_WORDS)
            for piece in pieces:
                self._index.setdefault(piece, []).append(len(self._ngrams))
            self._ngrams.append(pieces)

    def repeats(self, text: str) -> bool:
        """Whether `text` is a copy or near copy of a held-out text."""
        plain = normalise(text, punctuation=True)
        if plain in self._texts:
            return True
        pieces = word_trigrams(plain, min_words=MIN_WORDS)
        common: dict[int, int] = {}
        for piece in pieces:
            for other in self._index.get(piece, ()):
                common[other] = common.get(other, 0) + 1
        return any(shared >= NEAR * min(len(pieces), len(self._ngrams[o])) for o, shared in common.items())

    def clean(self, candidates: Sequence[Candidate], answers: frozenset[str]) -> list[Candidate]:
        """Drop candidates with a text that repeats a held-out one; responses in `answers` (label names) are allowed."""
        return [
            one
            for one in candidates
            if not self.repeats(one.query) and (one.response in answers or not self.repeats(one.response))
        ]


def log_tasks_without_shots(prepared: Path, seed: int) -> int:
    """Log the trained tasks of outputs/prepare that select_shots will find no shots for; returns their number.

    One task is in memory at a time.
    """
    tasks, guard, number = read_tasks(prepared / "tasks.yaml"), held_out_guard(prepared), 0
    for name, task in tasks.items():
        _, problems = clean_pools(inputs_of(prepared, name), {name: task}, guard, LOOKED_AT, seed)
        for problem in problems.values():
            log.warning("%s: select_shots will choose none: %s", name, problem)
        number += len(problems)
    return number


def inputs_of(prepared: Path, task: str) -> Inputs:
    """A task's rows of outputs/prepare with their texts, unchecked."""
    corpus, queries = (
        pl.scan_parquet(prepared / f"{table}.parquet").filter(pl.col("task") == task).collect()
        for table in ("corpus", "queries")
    )
    own = pl.col("query").is_between(queries["row"].min(), queries["row"].max())  # a task is one range of rows
    return Inputs(corpus, queries, pl.scan_parquet(prepared / "qrels.parquet").filter(own).collect())
