"""Prepare a task from (query, document, score) pairs: training rows and held-out evaluation rows."""

import numpy as np
import polars as pl

from components.config import TaskParams
from components.data.distinct import TextsAt
from components.data.hard import hard_documents
from components.data.held_out import pair_benchmark
from components.data.pair_source import SHARED_DOCUMENTS, PairSource, ordered_unique, query_numbers
from components.data.prepared import NEGATIVE_ROWS, SCORE_ROWS, Prepared
from components.data.splits import Group, take_groups, take_groups_from_end


def prepare_pairs(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a pair source; training rows as in contracts/tables.py, evaluation tables as in held_out.py."""
    source = PairSource(name, rows, params)
    pool = source.pool(seed, params.source)
    test, dev = take_groups(pool, "test", params.test), take_groups(pool, "dev", params.dev)
    test_documents = _with_hard(source, test, pool, params.test_documents)
    dev_documents = _with_hard(source, dev, pool, params.dev_documents)
    train = take_groups_from_end(pool, "train", params.train)
    unpaired = [group for group in pool if not group.queries and group.pinned in (None, "train")]
    done = Prepared()
    if params.train:
        found = np.concatenate([source.documents_of([*train, *unpaired]), source.judged_for(query_numbers(train))])
        documents = ordered_unique(found)
        if params.kind not in SHARED_DOCUMENTS:
            documents = documents[~np.isin(documents, np.concatenate([test_documents, dev_documents]))]
        present = np.zeros(len(source.documents), dtype=bool)
        _add_split(done, source, train, documents, present, "train")
        _add_own_negatives(done, source, train, present)
        _add_split(done, source, dev, dev_documents[~present[dev_documents]], present, "dev")
        _add_source_scores(done, source, [*train, *dev])
        if params.symmetric:
            _add_reversed(done)
    if test:
        done.benchmark = pair_benchmark(params.kind, source, query_numbers(test).tolist(), test_documents.tolist())
    return done


def _with_hard(source: PairSource, found: list[Group], pool: list[Group], least: int) -> np.ndarray:
    """Documents of held-out groups plus hard ones up to `least`; the groups of those are removed from `pool`."""
    held_out = source.documents_of(found)
    queries = query_numbers(found).tolist()
    missing = least - len(held_out)
    if missing <= 0 or not queries:
        return held_out
    free = [group for group in pool if group.pinned in (None, "train")]
    keys = np.array([document for group in free for document in group.documents], dtype=np.int64)
    owner = np.repeat(np.arange(len(free)), [len(group.documents) for group in free])
    kept = ~np.isin(keys, held_out)
    keys, owner = keys[kept], owner[kept]
    judged = [(source.queries.texts([one])[0], source.documents.texts(source.positives(one))) for one in queries]
    chosen = hard_documents(judged, TextsAt(source.documents, keys), missing)
    moved = {id(free[place]) for place in owner[chosen].tolist()}
    pool[:] = [group for group in pool if id(group) not in moved]
    return np.concatenate([held_out, keys[chosen]])


def _add_split(
    done: Prepared, source: PairSource, found: list[Group], documents: np.ndarray, present: np.ndarray, split: str
) -> None:
    """Add these documents (marked in `present`), and the queries of the groups that learn from one of all."""
    present[documents] = True
    query, document, score = source.pairs_of(query_numbers(found))
    kept = source.are_trained(score) & present[document]
    query, document, score = query[kept], document[kept], score[kept]
    qrels = {"query_id": source.query_names(query), "doc_id": source.document_names(document)}
    done.add(
        source.document_rows(documents, None if split == "train" else split),
        source.query_rows(ordered_unique(query), split),
        pl.DataFrame({**qrels, "relevance": source.relevance(score)}),
    )


def _add_own_negatives(done: Prepared, source: PairSource, found: list[Group], present: np.ndarray) -> None:
    """What the source judges and does not take for a training pair, where query and document are in training."""
    query, document, _ = source.pairs_of(query_numbers(found))
    query, document = query[present[document]], document[present[document]]
    pairs = {"query_id": source.query_names(query), "doc_id": source.document_names(document)}
    judged = pl.DataFrame(pairs, schema=NEGATIVE_ROWS).join(done.qrels, on=["query_id", "doc_id"], how="anti")
    done.own_negatives = judged.join(done.queries, on="query_id", how="semi")


def _add_source_scores(done: Prepared, source: PairSource, found: list[Group]) -> None:
    """The source's own teacher scores of the pairs that training or dev reads."""
    query, document, score = source.teacher_scores_of(query_numbers(found))
    pairs = {"query_id": source.query_names(query), "doc_id": source.document_names(document), "score": score}
    read = pl.concat([done.qrels.select("query_id", "doc_id"), done.own_negatives])
    done.source_scores = pl.DataFrame(pairs, schema=SCORE_ROWS).join(read, on=["query_id", "doc_id"], how="semi")


def _add_reversed(done: Prepared) -> None:
    """Add each training pair with query and document swapped, for symmetric tasks."""
    queries = done.queries.filter(pl.col("split") == "train")
    pairs = done.qrels.join(queries.select("query_id"), on="query_id", how="semi", maintain_order="left")
    query, document = (pl.format("{}-reversed", column) for column in ("query_id", "doc_id"))
    asked = done.corpus.join(pairs.select("doc_id").unique(), on="doc_id", how="semi", maintain_order="left")
    answers = queries.join(pairs.select("query_id").unique(), on="query_id", how="semi", maintain_order="left")
    done.add(
        answers.select("text", "label", doc_id=query, split=pl.lit(None, dtype=pl.String)),
        asked.select("text", "label", query_id=document, split=pl.lit("train")),
        pairs.select("relevance", query_id=document, doc_id=query),
    )
