"""MindSmallReranking by index: the same score with a hundredth of the memory.

The task has 2,362,514 queries, of which 37,162 are distinct: each is one article of a user's history, named
`IMPRESSION_n`, and the score is per impression, the maximum over its queries. mteb stores dictionaries of about 97 M
pairs (40 to 50 GB) and one vector per query (39 GB at 4,096 dimensions). Here an impression is a list of indices, and
one small matrix product gives its scores. The metrics are mteb's own, called as in `max_over_subqueries`; those of
single queries, which are not reported, are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from datasets import Dataset
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict
from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader
from mteb.tasks.reranking.eng.mind_small_reranking import MindSmallReranking
from mteb.types import PromptType

from components.base.errors import UserError
from components.benchmark.ranking import Corpus, Distinct

ROWS = 100_000  # rows of the large tables held in memory at a time
PREFIX = "max_over_subqueries_"


@dataclass(frozen=True)
class Impressions:
    """The whole task by index.

    groups: (impression, rows into queries.texts, candidate rows into corpus.ids); an impression whose queries have
    different candidates has several groups. relevant: impression -> document id -> grade.
    """

    corpus: Corpus
    queries: Distinct
    groups: list[tuple[str, np.ndarray, np.ndarray]]
    relevant: dict[str, dict[str, int]]


class IndexedMindSmall(MindSmallReranking):
    """mteb's task with its data stored by index; can be evaluated with a `FoundryModel` only.

    impression_scores: after an evaluation, the main score of each impression.
    """

    impression_scores: dict[str, float]

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Read the data set (hub or mirror).

        Raises:
            UserError: no candidate lists: mteb would rank the whole corpus instead.
        """
        if self.data_loaded:
            return
        where = self.metadata.dataset
        loader = RetrievalDatasetLoader(hf_repo=where["path"], revision=where["revision"], split="test")
        if "top_ranked" not in loader.dataset_configs:
            raise UserError(f"{where['path']}: config top_ranked is missing; make a mirror of the whole data set")
        self.dataset = {"default": {"test": _read(loader, num_proc)}}  # type: ignore[dict-item]  # our own container
        self.data_loaded = True

    def _evaluate_subset(self, model: Any, data_split: Any, **kwargs: Any) -> Any:
        results = impression_scores(model, data_split, self.metadata)
        single, ndcg, precision_map, recall, precision, naucs, mrr, naucs_mrr, hit_rate = calculate_retrieval_scores(
            results, data_split.relevant, self.k_values
        )
        self.impression_scores = {name: float(values["map_cut_1000"]) for name, values in single.items()}
        scores = make_score_dict(
            ndcg=ndcg,
            _map=precision_map,
            recall=recall,
            precision=precision,
            naucs=naucs,
            mrr=mrr,
            naucs_mrr=naucs_mrr,
            hit_rate=hit_rate,
            task_scores={},
        )
        return {PREFIX + name: value for name, value in scores.items()}


def impression_scores(model: Any, data: Impressions, metadata: Any) -> dict[str, dict[str, float]]:
    """Impression -> document id -> the maximum cosine over the impression's queries."""
    queries = model.embed(data.queries.texts, metadata, PromptType.query)
    documents = model.embed(data.corpus.texts.texts, metadata, PromptType.document)
    results: dict[str, dict[str, float]] = {}
    for impression, asked, candidates in data.groups:
        best = (queries[asked] @ documents[data.corpus.texts.place[candidates]].T).max(axis=0)
        found = results.setdefault(impression, {})
        for row, score in zip(candidates.tolist(), best.tolist(), strict=True):
            name = data.corpus.ids[row]
            found[name] = max(score, found.get(name, score))
    return {impression: results[impression] for impression in data.relevant}


def _read(loader: RetrievalDatasetLoader, num_proc: int | None) -> Impressions:
    corpus = Corpus.of(loader._load_corpus(num_proc))
    qrels = loader._load_dataset_split("default", num_proc)
    relevant, judged = _relevant(qrels)
    asked = loader._load_queries(num_proc).select_columns(["id", "text"]).to_polars()
    asked = asked.join(judged, on="id", how="semi", maintain_order="left")
    queries = Distinct.of(asked["text"].to_list())
    rows = asked.select("id", text=pl.Series(queries.place))
    return Impressions(
        corpus, queries, _groups(rows, loader._load_dataset_split("top_ranked", num_proc), corpus), relevant
    )


def _relevant(qrels: Dataset) -> tuple[dict[str, dict[str, int]], pl.DataFrame]:
    """(grades by impression, ids of all judged queries). All queries of an impression have the same judgements."""
    relevant: dict[str, dict[str, int]] = {}
    speaker: dict[str, str] = {}  # representative query of each impression
    judged: dict[str, None] = {}
    for part in _slices(qrels, ["query-id", "corpus-id", "score"]):
        asked = part["query-id"].unique(maintain_order=True).to_list()
        judged.update(dict.fromkeys(asked))
        speaking = [query for query in asked if speaker.setdefault(_impression(query), query) == query]
        speakers = part.filter(pl.col("query-id").is_in(speaking))
        for query, document, score in speakers.iter_rows():
            relevant.setdefault(_impression(query), {})[document] = int(score)
    return relevant, pl.DataFrame({"id": list(judged)}, schema={"id": pl.String})


def _groups(asked: pl.DataFrame, top_ranked: Dataset, corpus: Corpus) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Group rows by (impression, candidates); `asked` has the columns id and text (a row of the distinct texts)."""
    members, lists = [], []
    for part in _slices(top_ranked, ["query-id", "corpus-ids"]):
        keyed = part.rename({"query-id": "id"}).with_columns(
            impression=pl.col("id").str.replace(r"_[^_]*$", ""), key=pl.col("corpus-ids").list.join("\x1f").hash()
        )
        members.append(keyed.select("id", "impression", "key"))
        lists.append(keyed.unique(["impression", "key"], keep="first", maintain_order=True).drop("id"))
    candidates = pl.concat(lists).unique(["impression", "key"], keep="first", maintain_order=True)
    texts = (
        pl.concat(members)
        .join(asked, on="id", maintain_order="left")
        .group_by("impression", "key", maintain_order=True)
        .agg(pl.col("text").unique(maintain_order=True))
    )
    row_of: Mapping[str, int] = {name: row for row, name in enumerate(corpus.ids)}
    joined = texts.join(candidates, on=["impression", "key"], maintain_order="left")
    return [
        (impression, np.array(rows, dtype=np.int64), np.array([row_of[name] for name in names], dtype=np.int64))
        for impression, rows, names in joined.select("impression", "text", "corpus-ids").iter_rows()
    ]


def _slices(rows: Dataset, columns: list[str]) -> Iterator[pl.DataFrame]:
    wanted = rows.select_columns(columns).with_format("arrow")
    for part in wanted.iter(batch_size=ROWS):
        frame = pl.from_arrow(part)
        assert isinstance(frame, pl.DataFrame)  # from an Arrow table, never a Series
        names = frame.select(pl.col(columns[:2]).cast(pl.String) if columns[1] == "corpus-id" else pl.col(columns[:2]))
        yield names.with_columns(frame[name] for name in columns[2:])


def _impression(query: str) -> str:
    """
    >>> _impression("12_34_5")
    '12_34'
    """
    return query.rpartition("_")[0]
