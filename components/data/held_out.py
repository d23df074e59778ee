"""Held-out evaluation tables of every task, in the layout of its mteb class. One Parquet file per table:
`outputs/prepare/benchmark/TASK.TABLE.parquet`, and `benchmark/tasks.yaml` (all tasks; see contracts.read_tasks).

    kind                  tables and columns (ids and texts are strings)
    retrieval             corpus: doc_id, text | queries: query_id, text | qrels: query_id, doc_id, relevance (> 0)
    reranking             the same, and candidates: query_id, doc_ids (list: documents to rank, with the positives)
    classification        train: text, label (to fit the classifier) | test: text, label
    clustering            test: text, label
    pair_classification   test: text1, text2, score (1.0 = match, 0.0 = no match)
    sts                   test: text1, text2, score (float, the source's scale)
    summarization         test: text (the source), human_summary, machine_summaries (list), relevance (list of float)

Relevance and score are those of the source. Rows are sorted, so equal data gives equal bytes.
"""

from pathlib import Path

import numpy as np
import polars as pl

from components.base.errors import UserError
from components.data.pair_source import PairSource

Tables = dict[str, pl.DataFrame]
_TEXT_COLUMNS = ("text", "text1", "text2", "human_summary", "machine_summaries")


def pair_benchmark(kind: str, source: PairSource, queries: list[int], documents: list[int]) -> Tables:
    """Evaluation tables for the held-out queries (numbers) of a pair source, over `documents` for ranking tasks."""
    if kind in ("classification", "clustering"):
        raise UserError(f"holds pairs; the evaluation of a {kind} task needs text and label: set test: 0")
    if kind in ("retrieval", "reranking"):
        return _ranking(kind, source, queries, documents)
    if kind == "summarization":
        return {"test": pl.DataFrame([_summary(source, query) for query in queries])}
    query, document, score = source.pairs_of(np.array(queries))
    matches = source.are_positive(score).astype(np.float64) if kind == "pair_classification" else score
    columns = {"text1": source.queries.series(query), "text2": source.documents.series(document), "score": matches}
    return {"test": pl.DataFrame(columns).sort("text1", "text2")}


def _ranking(kind: str, source: PairSource, queries: list[int], documents: list[int]) -> Tables:
    rankable = [query for query in queries if source.positives(query)]
    if kind == "reranking":  # a query needs at least one negative to be ranked
        rankable = [query for query in rankable if len(source.positives(query)) < len(source.judged(query))]
        documents = source.judged_for(np.array(rankable, dtype=np.int64)).tolist()
    asked = np.array(rankable, dtype=np.int64)
    query, document, score = source.pairs_of(asked)
    kept = source.are_positive(score)
    names = {"query_id": source.query_names(query), "doc_id": source.document_names(document)}
    judged = pl.DataFrame({**names, "relevance": score})
    corpus = {"doc_id": source.document_names(documents), "text": source.documents.series(documents)}
    rows = {"query_id": source.query_names(asked), "text": source.queries.series(asked)}
    tables = {
        "corpus": pl.DataFrame(corpus).sort("doc_id"),
        "queries": pl.DataFrame(rows).sort("query_id"),
        "qrels": judged.filter(kept).sort("query_id", "doc_id"),
    }
    if kind == "reranking":
        lists = judged.sort("query_id", "doc_id").group_by("query_id", maintain_order=True)
        tables["candidates"] = lists.agg(doc_ids="doc_id")
    return tables


def _summary(source: PairSource, query: int) -> dict[str, object]:
    (text,), judged = source.queries.texts([query]), source.judged(query)
    return {
        "text": text,
        "human_summary": text,  # the source sentence itself: the summaries are sentence-level paraphrases of it
        "machine_summaries": source.documents.texts(list(judged)),
        "relevance": list(judged.values()),
    }


def write_benchmark(task: str, tables: Tables, folder: Path) -> None:
    """Write one task's tables to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        rows.write_parquet(folder / f"{task}.{table}.parquet", compression="zstd", statistics=False)


def held_out_texts(task: str, tables: Tables) -> dict[str, str]:
    """Evaluation texts by `TASK/TABLE/ROW/COLUMN`, without the texts a classifier is fitted on."""
    texts: dict[str, str] = {}
    for table, rows in tables.items():
        for column in [name for name in _TEXT_COLUMNS if name in rows.columns and table != "train"]:
            for number, value in enumerate(rows[column].to_list()):
                for place, text in enumerate(value if isinstance(value, list) else [value]):
                    texts[f"{task}/{table}/{number}/{column}{place or ''}"] = text
    return texts
