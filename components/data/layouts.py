"""The layouts that people hold their pairs in: what each column is called there, and what it is to us.

A name of a column may have alternatives (`label_text|label`, the first that is there), be optional (`neg?`) or stand
for numbered ones (`negative#`: negative, negative_1, negative_2). A tuple of names is joined by a space, as titles and
texts are. Beside our columns (columns.py), rows with lists have `positives`, `negatives`, `positive_scores` and
`negative_scores` (lists), `positive` and `negative` (one text each). `instruction` is what a row asks its own query
with, and is read from layouts that have it or where `fields` names it.

A new layout is a new entry here, and a row in the tests of inspection.py.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

NUMBERS = ("score", "teacher_score")
COLUMNS = (  # ours, in the order of our tables
    *("query", "document", "text", "label", "text1", "text2", "correct", "incorrect"),
    *("query_id", "doc_id", "split", "instruction", *NUMBERS),
)
Spec = str | tuple[str, ...]
Found = dict[str, tuple[str, ...]]  # our column: the file's columns, joined if several
LISTS = "positives_and_negatives"
Cells = Literal["texts", "passages", "instructed"]


@dataclass(frozen=True)
class Layout:
    """One kind of row. cells: what a list holds: texts, {docid, title, text}, or [instruction, text]."""

    about: str
    columns: Mapping[str, Spec]
    shape: str = "rows"
    cells: Cells = "texts"
    classes: str = ""  # the score is a class, and `values` must say what it means; an example


NLI_CLASSES = "{'0': '1', '1': null, '2': '0'}"
FLAG = {
    "query": "query",
    "instruction": "prompt?",
    "positives": "pos",
    "negatives": "neg?",
    "positive_scores": "pos_scores?",
    "negative_scores": "neg_scores?",
}
_DOC_ID = "docid|doc_id|_id|id|pid|corpus_id|corpus-id"
_TEXT = "text|contents|passage|document|body"
PASSAGE: Mapping[str, Spec] = {"doc_id": f"{_DOC_ID}?", "document": ("title?", _TEXT)}
_ASKED = "anchor|query|question"
_ANSWER = "positive|answer|response|document|passage|context"

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "flagembedding": (Layout("query with lists pos and neg", FLAG, LISTS),),
    "tevatron": (
        Layout(
            "query with lists of passages {docid, title, text}",
            {
                "query_id": "query_id?",
                "query": "query|query_text",
                "positives": "positive_passages",
                "negatives": "negative_passages?",
            },
            LISTS,
            "passages",
        ),
    ),
    "gritlm": (Layout("query, pos and neg as [instruction, text]", FLAG, LISTS, "instructed"),),
    "squad": (
        Layout(
            "question and context",
            {"query_id": "id?", "query": "question", "document": ("title?", "context"), "score": "score?"},
        ),
    ),
    "sentence_transformers": (
        Layout("triplets", {"query": _ASKED, "positive": "positive", "negative": "negative#"}, LISTS),
        Layout(
            "query, positive, list of negatives",
            {"query": _ASKED, "positive": "positive", "negatives": "negatives"},
            LISTS,
        ),
        Layout("pairs", {"query": _ASKED, "document": _ANSWER, "score": "score|label?"}),
        Layout(
            "graded pairs",
            {
                "text1": "sentence1|sentence_A|question1",
                "text2": "sentence2|sentence_B|question2",
                "score": "score|similarity_score|relatedness_score|label|is_duplicate",
            },
        ),
        Layout("NLI", {"text1": "premise", "text2": "hypothesis", "score": "label"}, classes=NLI_CLASSES),
        Layout("pairs", {"query": "sentence1|sentence_A", "document": "sentence2|sentence_B"}),
        Layout("labelled texts", {"text": "text|sentence", "label": "label_text|label"}),
    ),
    "corpus_and_ids": (
        Layout(
            "query with lists of document ids",
            {
                "query_id": "query_id|question_id|qid?",
                "query": "query|query_text|question?",
                "positives": "positive_document_ids|positive_ids|positive_passages|pos_doc|pos_ids|pos",
                "negatives": "negative_document_ids|negative_ids|negative_passages|neg_doc|neg_ids|neg?",
                "positive_scores": "pos_scores?",
                "negative_scores": "neg_scores?",
            },
            LISTS,
            "passages",
        ),
        Layout(
            "query and document ids",
            {
                "query_id": "query_id|qid?",
                "query": "query|query_text|question?",
                "positive": "positive_id|pos_id|pid|doc_id",
                "negative": "negative_id|neg_id?",
            },
            LISTS,
            "passages",
        ),
    ),
}


@dataclass(frozen=True)
class Part:
    """One part of a collection. files: globs, the first that names any wins. header: columns of files without one."""

    files: tuple[str, ...]
    columns: Mapping[str, Spec]
    header: tuple[str, ...] = ()


_QUERY_ID = "query_id|_id|id|qid|query-id"
COLLECTIONS: dict[str, dict[str, Part]] = {
    "collection": {
        "corpus": Part(("corpus.jsonl", "corpus.parquet"), {"doc_id": "doc_id", "document": ("title?", "text")}),
        "queries": Part(
            ("queries.jsonl", "queries.parquet"), {"query_id": "query_id", "query": "text", "split": "split?"}
        ),
        "qrels": Part(
            ("qrels.jsonl", "qrels.parquet"),
            {"query_id": "query_id", "doc_id": "doc_id", "score": "relevance|score?"},
        ),
    },
    "beir": {
        "corpus": Part(
            ("corpus.jsonl", "corpus/*.parquet", "corpus/*.jsonl", "corpus.parquet"),
            {"doc_id": "_id|id", "document": ("title?", "text")},
        ),
        "queries": Part(
            ("queries.jsonl", "queries/*.parquet", "queries/*.jsonl", "queries.parquet"),
            {"query_id": "_id|id", "query": "text"},
        ),
        "qrels": Part(
            (
                "qrels/*.tsv",
                "qrels/*.csv",
                "qrels/*.parquet",
                "qrels/*.jsonl",
                "qrels.tsv",
                "default/*.parquet",
                "data/*.parquet",
                "qrels.jsonl",
            ),
            {"query_id": "query-id", "doc_id": "corpus-id", "score": "score"},
        ),
    },
    "trec": {
        "corpus": Part(
            ("collection.*", "corpus.*", "docs.*", "documents.*", "passages.*"),
            {"doc_id": "doc_id", "document": ("title?", "text")},
            ("doc_id", "text"),
        ),
        "queries": Part(
            ("queries.*", "queries*.tsv", "topics*.tsv", "topics*.txt"),
            {"query_id": "query_id", "query": "query"},
            ("query_id", "query"),
        ),
        "qrels": Part(
            ("qrels.*", "qrels*", "*qrels*", "qrels/*"),
            {"query_id": "query_id", "doc_id": "doc_id", "score": "relevance"},
            ("query_id", "iteration", "doc_id", "relevance"),
        ),
    },
    "corpus_and_ids": {
        "corpus": Part(
            ("corpus.*", "corpus/*", "collection.*", "docs.*", "passages.*"),
            {"doc_id": _DOC_ID, "document": ("title?", _TEXT)},
            ("doc_id", "text"),
        ),
        "queries": Part(
            ("queries.*", "queries*.tsv"),
            {"query_id": _QUERY_ID, "query": "query|text|question"},
            ("query_id", "query"),
        ),
        "rows": Part(("train.*", "rows.*", "triples.*", "*triples*", "docpairs.*", "*train*"), {}),
    },
}
POOL = Part((), {"doc_id": f"{_DOC_ID}?", "document": ("title?", _TEXT)}, ("text",))


def find_columns(specs: Mapping[str, Spec], present: Sequence[str]) -> tuple[Found, list[str]]:
    """Which of the columns that are present the specifications mean, and the needed ones that are not there.

    >>> find_columns({"query": "anchor|query", "negative": "negative#", "label": "label?"}, ["query", "negative_1"])
    ({'query': ('query',), 'negative': ('negative_1',)}, [])
    >>> find_columns({"query": "anchor|query", "document": ("title?", "text")}, ["query", "title"])
    ({'query': ('query',)}, ['text'])
    """
    found: Found = {}
    missing: list[str] = []
    for ours, spec in specs.items():
        names: list[str] = []
        for one in (spec,) if isinstance(spec, str) else spec:
            here = _match(one.removesuffix("?"), present)
            names += here
            if not here and not one.endswith("?"):
                missing.append(one)
                names = []
                break
        if names:
            found[ours] = tuple(names)
    return found, missing


def find_stated(fields: Mapping[str, str | list[str]], present: Sequence[str]) -> tuple[Found, list[str]]:
    """Like `find_columns` for `fields` of the parameters: names to the letter, every one of them needed."""
    stated: Found = {ours: (theirs,) if isinstance(theirs, str) else tuple(theirs) for ours, theirs in fields.items()}
    every = [name for names in stated.values() for name in names]
    return stated, [name for name in every if name not in present and name.split(".")[0] not in present]


def _match(spec: str, present: Sequence[str]) -> list[str]:
    for name in spec.split("|"):
        if name in present:
            return [name]
        if name.endswith("#"):
            numbered = [one for one in present if re.fullmatch(re.escape(name[:-1]) + r"(_?\d+)?", one)]
            if numbered:
                return numbered
    return []


def layout_columns(name: str, present: Sequence[str]) -> set[str]:
    """The columns that the first fitting layout of a format reads."""
    for layout in LAYOUTS.get(name, ()):
        found, missing = find_columns(layout.columns, present)
        if not missing:
            return {one for names in found.values() for one in names}
    return set()


def recognise(present: list[str]) -> list[str]:
    """The formats with a layout that has all its needed columns among these."""
    if {"title", "paragraphs"} <= set(present) or {"version", "data"} == set(present):
        return ["squad"]
    return [
        name for name, layouts in LAYOUTS.items() if any(not find_columns(one.columns, present)[1] for one in layouts)
    ]
