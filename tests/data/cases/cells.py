"""Cells and rows: half an emoji, NaN, missing columns, bytes, dates, grades, ids."""

import io
from datetime import datetime

import polars as pl

from tests.data.cases.case import Case, Check, changed, collection, devices, lines, rivers
from tests.data.conftest import Rows
from tests.data.prepared import Outputs

PAIRS = devices()
HALF = lines(PAIRS).replace("reset device 4", r"reset device 4 \ud83d", 1)
CASED = [
    ("What does US mean?", "The United States of America, a country."),
    ("What does us mean?", "The objective form of the pronoun we."),
    ("polish", "To make smooth and shiny by rubbing."),
    ("Polish", "Of the country Poland or its language."),
    *((f"filler {n}", f"filler doc {n}") for n in range(10)),
]
STS = [{"text1": f"a man plays guitar {n}", "text2": f"someone is making music {n}", "score": n % 6} for n in range(40)]
STS_TASK = {"kind": "sts", "symmetric": True}
NO_SCORE = "text1,text2\n" + "".join(f"a man plays guitar {n},someone is making music {n}\n" for n in range(30))
DROP = {"source": {"drop_empty": True}}


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


BYTES = parquet(pl.DataFrame(PAIRS).with_columns(pl.all().cast(pl.Binary)))
DATES = parquet(pl.DataFrame([{"query": row["query"], "document": datetime(2026, 1, 1)} for row in PAIRS]))


def has_no_bytes(out: Outputs, metrics: dict[str, float]) -> None:
    assert all(text.startswith("Hold") for text in out.corpus["text"])


def keeps_case(out: Outputs, metrics: dict[str, float]) -> None:
    texts = [
        dict(frame.select(name, "text").iter_rows())
        for frame, name in ((out.queries, "query_id"), (out.corpus, "doc_id"))
    ]
    learned = {(texts[0][one], texts[1][other]) for one, other in out.qrels.select("query_id", "doc_id").iter_rows()}
    assert learned == set(CASED)


def keeps_grades(out: Outputs, metrics: dict[str, float]) -> None:
    assert set(out.qrels["relevance"]) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}


def has_grades(*grades: float) -> Check:
    def check(out: Outputs, metrics: dict[str, float]) -> None:
        assert set(out.qrels["relevance"]) == set(grades)

    return check


def spelled() -> Rows:
    return [
        {
            "query_id": f"q{n}",
            "query": f"q {n} asked",
            "doc_id": f"d{n // 2}",
            "document": f"doc {n // 2} answer{' ' * (1 + 2 * (n % 2))}again",
        }
        for n in range(40)
    ]


def dirty(extra_document: Rows, extra_judgement: Rows) -> dict[str, str]:
    documents, queries, judged = rivers()
    return collection([*documents, *extra_document], queries, [*judged, *extra_judgement])


WITHOUT_USE = "6 queries without a use: no score above 0 (or of positive_score and more)"

CASES = {
    "10-dangling: a judgement of a document that the corpus lacks": Case(
        dirty([], [{"query_id": "q0", "doc_id": "gone", "relevance": 1}]),
        (5, 2, 2),
        {"format": "collection", "drop_empty": True},
        refused=r"qrels\.jsonl: row 13: field doc_id: unknown id 'gone'; .*, or set on_missing: skip",
        cure={"source": {"on_missing": "skip"}},
        given=(5, 2, 2),
        says=("dropped: 1 missing",),
    ),
    "11-empty-doc: an empty document, drop_empty": Case(
        dirty([{"doc_id": "empty", "title": "", "text": ""}], []),
        (5, 2, 2),
        {"format": "collection", "drop_empty": True},
        given=(5, 2, 2),
        says=("dropped: 1 empty",),
    ),
    "13-grades: half of the queries have grade 0 or -1 only": Case(
        collection(*rivers(grades=(2, 1, 0, -1))),
        (5, 2, 2),
        {"format": "collection"},
        given=(4, 1, 1),
        says=("6 queries for 9, so train 4, dev 1, test 1", WITHOUT_USE),
        holds=has_grades(1.0, 2.0),
    ),
    "13b-score-column: grades under the name score": Case(
        collection(*rivers(grades=(2, 1, 0, -1), grade="score")),
        (5, 2, 2),
        {"format": "collection"},
        given=(4, 1, 1),
        says=(WITHOUT_USE,),
        holds=has_grades(1.0, 2.0),
    ),
    "24-lone-surrogate: half an emoji": Case(
        {"data.jsonl": HALF},
        (15, 3, 3),
        refused=r"data\.jsonl: row 5: field query: holds an unpaired surrogate \(\\ud83d\); correct or remove the row",
        cure={"files": {"data.jsonl": lines(PAIRS)}},
        given=(15, 3, 3),
    ),
    "25-nan: pandas' NaN as a document": Case(
        {"data.jsonl": lines(changed(PAIRS, 4, document=float("nan")))},
        (15, 3, 3),
        refused=r"data\.jsonl: row 5: field document: empty; correct or remove the row, or set drop_empty: true",
        cure=DROP,
        given=(15, 3, 3),
        says=("dropped: 1 empty",),
    ),
    "26-missing-document: a row without document": Case(
        {"data.jsonl": lines(changed(PAIRS, 4, document=...))},
        (15, 3, 3),
        refused=r"data\.jsonl: row 5: field document: missing, and row 1 has it; the row has query: correct the file",
        cure={"files": {"data.jsonl": lines(PAIRS)}},
        given=(15, 3, 3),
    ),
    "26b-missing-query: a row without query": Case(
        {"data.jsonl": lines(changed(PAIRS, 4, query=...))},
        (15, 3, 3),
        refused=r"data\.jsonl: row 5: field query: missing, and row 1 has it; the row has document: correct the file",
        cure=DROP,
        given=(15, 3, 3),
    ),
    "27-pairs-without-score: text1 and text2 alone": Case(
        {"data.csv": NO_SCORE},
        (15, 3, 3),
        {"format": "csv"},
        refused=r"data\.csv: row 1: field score: missing beside text1 and text2: .* set `fields: {query: text1, docume",
        cure={"source": {"fields": {"query": "text1", "document": "text2"}}},
        given=(15, 3, 3),
    ),
    "28-label-null: an optional label that is null": Case(
        {"data.jsonl": lines(devices(label=None))}, (15, 3, 3), given=(15, 3, 3)
    ),
    "29-score-logit: logits of a cross-encoder under score": Case(
        {"data.jsonl": lines([{**row, "score": -3.2 if n % 2 else 5.1} for n, row in enumerate(PAIRS)])},
        (20, 3, 3),
        given=(12, 2, 1),
        says=("15 queries for 26, so train 12, dev 2, test 1", "15 queries without a use: no score above 0"),
    ),
    "32-case: queries that differ by case": Case(
        {"data.jsonl": lines([{"query": query, "document": document} for query, document in CASED])},
        (14, 0, 0),
        given=(14, 0, 0),
        says=("2 texts differ from another by case, spaces or id only; both are kept",),
        holds=keeps_case,
    ),
    "35-sts: grades 0 to 5": Case(
        {"data.jsonl": lines(STS)}, (30, 3, 5), task=STS_TASK, given=(60, 3, 5), holds=keeps_grades
    ),
    "35b-sts-threshold-0: grades 0 to 5 from 0 on": Case(
        {"data.jsonl": lines(STS)},
        (30, 3, 5),
        task={**STS_TASK, "positive_score": 0},
        given=(60, 3, 5),
        holds=keeps_grades,
    ),
    "40-parquet-binary: texts as bytes": Case(
        {"data.parquet": BYTES}, (15, 3, 3), {"format": "parquet"}, given=(15, 3, 3), holds=has_no_bytes
    ),
    "40f-parquet-timestamp: dates as documents": Case(
        {"data.parquet": DATES},
        (15, 3, 3),
        {"format": "parquet"},
        refused=r"data\.parquet: row 1: field document: holds a datetime, expected text; correct `fields` or the file",
    ),
    "47-zero-width: a document of one zero-width space": Case(
        {"data.jsonl": lines(changed(changed(PAIRS, 2, document="\u200b"), 3, document="\u00a0"))},
        (15, 3, 3),
        refused=r"data\.jsonl: row 3: field document: empty; correct or remove the row, or set drop_empty: true",
        cure=DROP,
        given=(15, 3, 3),
        says=("dropped: 2 empty",),
    ),
    "74-id-whitespace: one id, texts that differ by spaces": Case(
        {"data.jsonl": lines(spelled())},
        (20, 5, 5),
        given=(20, 4, 4),
        says=("20 rows spell the text of their id in another way; the first counts",),
    ),
    "91-grade-threshold: a document counts from grade 2 on": Case(
        collection(*rivers(20, grades=(1, 2, 3))),
        (10, 0, 5),
        {"format": "collection"},
        {"positive_score": 2},
        given=(9, 0, 4),
        says=("13 queries for 15, so train 9, test 4", "7 queries without a use"),
        holds=has_grades(2.0, 3.0),
    ),
}
