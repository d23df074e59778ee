"""Layouts of other tools: FlagEmbedding, Tevatron, BEIR, MS MARCO, TREC, SQuAD, JSON arrays."""

import json
from typing import Any

from tests.data.cases.case import Case, collection, devices, lines, rivers
from tests.data.prepared import Outputs

FLAG: dict[str, Any] = {"format": "flagembedding"}
LISTS = {"format": "jsonl", "shape": "positives_and_negatives"}
SCORED = [
    {
        "query": f"where is town {n}",
        "pos": [f"Town {n} lies on river {n}."],
        "neg": [f"Lake {n} is deep.", f"Hill {n} is high."],
        "pos_scores": [0.9],
        "neg_scores": [0.1, 0.2],
        "prompt": "Find the town" if n % 2 else "Find the place",
        "type": "normal",
    }
    for n in range(10)
]
PASSAGES = [
    {
        "query_id": f"{n}",
        "query": f"where is town {n}",
        "positive_passages": [{"docid": f"d{n}", "title": f"Town {n}", "text": f"Town {n} lies on river {n}."}],
        "negative_passages": [{"docid": f"n{n}", "title": "Other", "text": f"Lake {n} is deep."}],
    }
    for n in range(20)
]
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": f"T{n}",
            "paragraphs": [
                {
                    "context": f"A long paragraph about {n}.",
                    "qas": [{"id": f"{n}", "question": f"what is {n}?", "answers": [{"text": "A", "answer_start": 0}]}],
                }
            ],
        }
        for n in range(30)
    ],
}


def banking() -> list[dict[str, Any]]:
    return [
        {"query": f"when will my card come, number {n}", "pos": ["card arrival"], "neg": [f"topic {n}", "top up"]}
        for n in range(10)
    ]


def nulls() -> list[dict[str, Any]]:
    pairs = [{"query": row["query"], "pos": [row["document"], "Press reset."], "neg": ["x y z"]} for row in devices(16)]
    return [{**row, "pos": [row["pos"][0], None]} if n == 4 else row for n, row in enumerate(pairs)]


def has_scores(out: Outputs, metrics: dict[str, float]) -> None:
    assert (out.folder / "source_scores.parquet").is_file()
    assert set(out.frame("instructions")["instruction"]) == {"Find the town", "Find the place"}
    assert (out.folder / "own_negatives.parquet").is_file()


def has_titles(out: Outputs, metrics: dict[str, float]) -> None:
    assert all(text.startswith("T") and " Body" in text for text in out.corpus["text"])


def has_passages_with_titles(out: Outputs, metrics: dict[str, float]) -> None:
    assert {text.split()[0] for text in out.corpus["text"]} == {"Town", "Other"}


def has_negatives(out: Outputs, metrics: dict[str, float]) -> None:
    assert any(text.startswith("Something else") for text in out.corpus["text"])
    assert (out.folder / "own_negatives.parquet").is_file()


def beir() -> dict[str, str]:
    documents, queries, judged = rivers()
    found = collection(
        [{"_id": row["doc_id"], "title": row["title"], "text": row["text"]} for row in documents],
        [{"_id": row["query_id"], "text": row["text"]} for row in queries],
        [],
        "b",
    )
    del found["b/qrels.jsonl"]
    cells = [("query-id", "corpus-id", "score"), *((row["query_id"], row["doc_id"], "1") for row in judged)]
    return {**found, "b/qrels/test.tsv": "".join("\t".join(row) + "\n" for row in cells)}


def trec() -> dict[str, str]:
    documents, queries, judged = rivers(23)
    return {
        "t/docs.tsv": "".join(f"{row['doc_id']}\t{row['text']}\n" for row in documents),
        "t/queries.tsv": "".join(f"{row['query_id']}\t{row['text']}\n" for row in queries),
        "t/nfcorpus-qrels.tsv": "".join(f"{row['query_id']} 0 {row['doc_id']} 2\n" for row in judged),
    }


TRIPLES = "".join(f"what is thing {n}\tThing {n} is a thing.\tSomething else {n}.\n" for n in range(20))
ARRAY = json.dumps(devices(), indent=2)

CASES = {
    "01-flagembedding-banking77: ten questions share their one positive": Case(
        {"data.jsonl": lines(banking())},
        (6, 2, 2),
        LISTS,
        given=(6, 2, 2),
        says=("1 documents are answers in training and in test",),
    ),
    "01-flagembedding-msmarco: the row's own teacher scores and prompts": Case(
        {"data.jsonl": lines(SCORED)},
        (6, 2, 2),
        FLAG,
        given=(6, 2, 2),
        says=("columns that nothing reads: type",),
        holds=has_scores,
    ),
    "02b-no-shape: FlagEmbedding rows read as plain rows": Case(
        {"data.jsonl": lines(SCORED)},
        (6, 2, 2),
        refused=r"data\.jsonl: row 1: field query: are the only columns of ours .*, or format: flagembedding, which ha",
        cure={"source": FLAG},
        given=(6, 2, 2),
    ),
    "05b-null-in-pos: null in a list, drop_empty": Case(
        {"data.jsonl": lines(nulls())}, (10, 3, 3), {**LISTS, "drop_empty": True}, given=(10, 3, 3)
    ),
    "06-tevatron: positive_passages of docid, title and text": Case(
        {"data.jsonl": lines(PASSAGES)},
        (10, 3, 3),
        {**LISTS, "fields": {"query": "query", "positives": "positive_passages", "negatives": "negative_passages"}},
        refused=r"row 1: field positive_passages\[0\]: holds a dict, expected text; format: tevatron reads passages",
        cure={"source": {"format": "tevatron", "shape": None, "fields": None}},
        given=(10, 3, 3),
        holds=has_passages_with_titles,
    ),
    "08-beir-folder: read as a collection of ours": Case(
        beir(),
        (5, 2, 2),
        {"format": "collection", "fields": {"doc_id": "_id", "query_id": "_id"}},
        refused=r"b: no qrels\.jsonl .*; collection needs qrels \(here are corpus\.jsonl.*\): set format: beir",
        cure={"source": {"format": "beir", "fields": None}},
        given=(5, 2, 2),
        holds=has_titles,
    ),
    "09-collection-title: a title beside the text": Case(
        collection(*rivers()), (5, 2, 2), {"format": "collection"}, given=(5, 2, 2), holds=has_titles
    ),
    "15-msmarco-triples: query, positive and negative without a header": Case(
        {"triples.tsv": TRIPLES},
        (10, 2, 2),
        {"format": "sentence_transformers", "columns": {"rows": ["query", "positive", "negative"]}},
        given=(10, 2, 2),
        holds=has_negatives,
    ),
    "42-json-array: pretty JSON read as lines": Case(
        {"data.json": ARRAY},
        (15, 3, 3),
        refused=r"data\.json: row 1: not valid JSON .*; the file looks like one JSON document: set format: json",
        cure={"source": {"format": "json"}},
        given=(15, 3, 3),
    ),
    "42c-squad: one line of SQuAD": Case(
        {"data.json": json.dumps(SQUAD)},
        (15, 3, 3),
        refused=r"data\.json: row 1: field version, data: none is one of ours .*, or format: squad, which has these",
        cure={"source": {"format": "squad"}},
        given=(15, 3, 3),
    ),
    "52b-trec-qrels: judgements alone, read as a table": Case(
        trec(),
        (15, 3, 5),
        {"format": "tsv"},
        path="t/nfcorpus-qrels.tsv",
        refused=r"nfcorpus-qrels\.tsv: row 1: field q0 0 d0 2: none is one of ours .*; set `fields`",
        cure={"source": {"format": "trec"}, "path": {"path": "t"}},
        given=(15, 3, 5),
    ),
}
