"""Prepare a task from (query, document, score) pairs: training rows and held-out evaluation rows."""

import numpy as np
import polars as pl

from components.config import TaskParams
from components.data.account import Account
from components.data.assign import Pool
from components.data.held_out import pair_benchmark
from components.data.pair_source import SHARED_DOCUMENTS, PairSource, ordered_unique, query_numbers
from components.data.prepared import INSTRUCTION_ROWS, NEGATIVE_ROWS, SCORE_ROWS, Prepared
from components.data.spare import Spare, add_hard
from components.data.splits import Group

MOST_INSTRUCTIONS = 1_000  # of a task; queries of one instruction share a prefix, which is computed once
REVERSED = "-reversed"  # end of the ids of pairs that a symmetric task swaps


def prepare_pairs(name: str, rows: pl.DataFrame, params: TaskParams, seed: int) -> Prepared:
    """Split a pair source; training rows as in contracts/tables.py, evaluation tables as in held_out.py."""
    source = PairSource(name, rows, params)
    asked = {"train": params.train, "dev": params.dev if params.train else 0, "test": params.test}
    account = _account(source, asked)
    pool, sizes = _pool(source, asked, params, seed)
    account.plan(sizes)
    account.note(overruled=source.count_overruled(pool))
    test, dev = pool.take("test", sizes["test"]), pool.take("dev", sizes["dev"])
    spare = Spare(pool, asked["train"])
    test_documents = add_hard(source, test, spare, params.test_documents)
    dev_documents = add_hard(source, dev, spare, params.dev_documents)
    unpaired = pool.unpaired()
    train = pool.take_from_end("train", params.train)
    fewer = sum(sizes[split] - len(query_numbers(own)) for split, own in (("test", test), ("dev", dev)))
    account.note(shared_answers=pool.cut, fewer_documents=spare.missing, whole_groups=fewer)
    done = Prepared(account=account)
    if params.train:
        _add_training(done, source, params, train, dev, unpaired, test_documents, dev_documents)
    if test:
        done.benchmark = pair_benchmark(params.kind, source, query_numbers(test).tolist(), test_documents.tolist())
        account.given["test"] = len(query_numbers(test))
        _note_shared(account, source, train, test, test_documents)
    return done


def _account(source: PairSource, asked: dict[str, int]) -> Account:
    fit = {split: len(source.queries) - len(useless) for split, useless in source.unfit.items()}
    account = Account(len(source.queries), asked, stated=source.stated, fit=fit)
    useless = [source.unfit[split] for split, number in asked.items() if number]
    account.note(
        no_positive=len(frozenset.intersection(*useless)) if useless else 0,
        variants=source.queries.variants + source.documents.variants,
        respelled=source.queries.respelled + source.documents.respelled,
        repeated_rows=source.repeated_rows,
        other_grades=source.other_grades,
    )
    return account


def _pool(source: PairSource, asked: dict[str, int], params: TaskParams, seed: int) -> tuple[Pool, dict[str, int]]:
    """The groups and the numbers to take. Where a few answers have most of the queries, retrieval is split by query."""
    pool = source.pool(seed, params.source)
    sizes = pool.plan(asked)
    if params.kind == "retrieval" and _needs_division(source, pool, sizes) and (large := pool.large()):
        pool = source.pool(seed, params.source, divided=large)
        sizes = pool.plan(asked)
    return pool, sizes


def _needs_division(source: PairSource, pool: Pool, sizes: dict[str, int]) -> bool:
    return pool.is_short(sizes) or source.count_overruled(pool) > 0


def _note_shared(account: Account, source: PairSource, train: list[Group], test: list[Group], held: np.ndarray) -> None:
    """Documents that are answers on both sides: the split by query leaves them there, and decontamination too."""
    if any(group.divided for group in test):
        shared = np.intersect1d(source.documents_of(train), held)
        account.shared = frozenset(source.document_names(shared))
        account.note(answers_in_both=len(shared))


def _add_training(
    done: Prepared,
    source: PairSource,
    params: TaskParams,
    train: list[Group],
    dev: list[Group],
    unpaired: list[Group],
    test_documents: np.ndarray,
    dev_documents: np.ndarray,
) -> None:
    own = source.documents_of([*train, *unpaired])
    documents = ordered_unique(np.concatenate([own, source.judged_for(query_numbers(train))]))
    if params.kind not in SHARED_DOCUMENTS:
        held_out = np.isin(documents, np.concatenate([test_documents, dev_documents]))
        documents = documents[~held_out | np.isin(documents, own)]
    present = np.zeros(len(source.documents), dtype=bool)
    _add_split(done, source, train, documents, present, "train")
    _add_own_negatives(done, source, train, present)
    _add_split(done, source, dev, dev_documents[~present[dev_documents]], present, "dev")
    _add_source_scores(done, source, [*train, *dev])
    _add_instructions(done, source, params, train)
    if params.symmetric:
        _add_reversed(done)


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
    """Judged pairs of the source that are no training pairs, where query and document are in training."""
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


def _add_instructions(done: Prepared, source: PairSource, params: TaskParams, found: list[Group]) -> None:
    """The instructions that the source brings for training queries, but for the task's own."""
    numbers = query_numbers(found)
    columns = {"query_id": source.query_names(numbers), "instruction": source.instructions.gather(numbers)}
    own = pl.DataFrame(columns, schema=INSTRUCTION_ROWS).filter(pl.col("instruction") != params.instruction)
    own = own.join(done.queries, on="query_id", how="semi")
    distinct = own["instruction"].n_unique()
    if params.symmetric or distinct > MOST_INSTRUCTIONS:
        done.account.note(**{"unused_instructions" if params.symmetric else "too_many_instructions": len(own)})
        return
    done.instructions = own
    done.account.note(
        own_instructions=len(own), instructions=distinct, further_instructions=source.further_instructions
    )


def _add_reversed(done: Prepared) -> None:
    """Add each training pair with query and document swapped, for symmetric tasks."""
    queries = done.queries.filter(pl.col("split") == "train")
    pairs = done.qrels.join(queries.select("query_id"), on="query_id", how="semi", maintain_order="left")
    query, document = (pl.format("{}" + REVERSED, column) for column in ("query_id", "doc_id"))
    asked = done.corpus.join(pairs.select("doc_id").unique(), on="doc_id", how="semi", maintain_order="left")
    answers = queries.join(pairs.select("query_id").unique(), on="query_id", how="semi", maintain_order="left")
    done.add(
        answers.select("text", "label", doc_id=query, split=pl.lit(None, dtype=pl.String)),
        asked.select("text", "label", query_id=document, split=pl.lit("train")),
        pairs.select("relevance", query_id=document, doc_id=query),
    )
