"""Small files in the layouts that people hold, and what we read of each: (query, document, score) or (text, label)."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow

from components.data.layouts import LISTS

Content = str | bytes | list[dict[str, Any]]
Q, P, N = "where is the town", "The town lies on the river.", "The lake is deep."
Q2, P2 = "how deep is the lake", "The lake is nine metres deep."
PAIR = {(Q, P, 1.0)}
TRIPLET = {(Q, P, 1.0), (Q, N, 0.0)}
PLAIN = {(Q, P, None), (Q2, P2, None)}


@dataclass
class Sample:
    """Files by name below a folder; the format that is right for them, and the rows that it gives."""

    files: Mapping[str, Content]
    format: str
    rows: set[tuple[Any, ...]]
    settings: dict[str, Any] = field(default_factory=dict)  # that the block to paste has beside the format
    write: Callable[[Path], None] | None = None

    def place(self, folder: Path) -> Path:
        """Write the files; returns what a user would name: the file, or the folder of several."""
        if self.write:
            self.write(folder / "in")
            return folder / "in"
        for name, content in self.files.items():
            path = folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else _encoded(name, content))
        return folder / "in" / next(iter(self.files)) if len(self.files) == 1 else folder / "in"


def _encoded(name: str, content: str | list[dict[str, Any]]) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        pl.DataFrame(content).write_parquet(buffer)
        return buffer.getvalue()
    if name.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
        return text.getvalue().encode()
    if name.endswith(".json"):
        return json.dumps(content, indent=2).encode()
    return "".join(json.dumps(row) + "\n" for row in content).encode()


def _zipped(files: Mapping[str, Content]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else _encoded(name, content))
    return buffer.getvalue()


def _saved(folder: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([{"query": Q, "document": P}, {"query": Q2, "document": P2}]).save_to_disk(str(folder))


def _saved_triplets(folder: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([{"anchor": Q, "positive": P, "negative": N}]).save_to_disk(str(folder))


def _saved_splits(folder: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {"train": {"query": Q, "document": P}, "validation": {"query": Q2, "document": P2}}
    DatasetDict({name: Dataset.from_list([row]) for name, row in parts.items()}).save_to_disk(str(folder))


FLAG = {
    "query": Q,
    "pos": [P],
    "neg": [N],
    "pos_scores": [0.9],
    "neg_scores": [0.2],
    "prompt": "Find it: ",
    "type": "n",
}
TWO = [{"query": Q, "document": P}, {"query": Q2, "document": P2}]
BEIR: dict[str, Content] = {
    "corpus.jsonl": [
        {"_id": "d1", "title": "Towns", "text": P, "metadata": {"url": "x"}},
        {"_id": "d2", "title": "", "text": N, "metadata": {}},
    ],
    "queries.jsonl": [{"_id": "1", "text": Q, "metadata": {}}, {"_id": "2", "text": Q2, "metadata": {}}],
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\td1\t1\n",
}
BEIR_ROWS = {(Q, f"Towns {P}", 1.0), (None, N, None)}
CORPUS = [{"docid": 1, "title": "Towns", "text": P}, {"docid": 2, "title": None, "text": N}]
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Towns",
            "paragraphs": [
                {
                    "context": P,
                    "qas": [
                        {"id": "1", "question": Q, "answers": [{"text": "the river", "answer_start": 20}]},
                        {"id": "2", "question": Q2, "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
SEMICOLONS = f'query;document\r\n{Q};"{P}"\r\n{Q2};{P2}\r\n'

SAMPLES: dict[str, Sample] = {
    "our columns, JSON Lines": Sample({"faq.jsonl": TWO}, "jsonl", PLAIN),
    "BEIR folder": Sample(BEIR, "beir", BEIR_ROWS),
    "BEIR with judgements in CSV": Sample(
        {**{k: v for k, v in BEIR.items() if "qrels" not in k}, "qrels/test.csv": "query-id,corpus-id,score\n1,d1,1\n"},
        "beir",
        BEIR_ROWS,
    ),
    "BEIR as it is downloaded": Sample(
        {"toy.zip": _zipped({f"toy/{k}": v for k, v in BEIR.items()})}, "beir", BEIR_ROWS
    ),
    "mteb's retrieval folder": Sample(
        {
            "corpus/corpus-00000-of-00001.parquet": [{"_id": "d1", "title": "", "text": P}],
            "queries/queries-00000-of-00001.parquet": [{"_id": "1", "text": Q}],
            "qrels/test-00000-of-00001.parquet": [{"query-id": "1", "corpus-id": "d1", "score": 1}],
        },
        "beir",
        PAIR,
    ),
    "our collection": Sample(
        {
            "corpus.jsonl": [{"doc_id": "1", "text": P}],
            "queries.jsonl": [{"query_id": "1", "text": Q}],
            "qrels.jsonl": [{"query_id": "1", "doc_id": "1", "score": 2}],
        },
        "collection",
        {(Q, P, 2.0)},
    ),
    "TREC files": Sample(
        {"docs.tsv": f"d1\t{P}\nd2\t{N}\n", "queries.tsv": f"1\t{Q}\n", "qrels.tsv": "1 0 d1 2\n1 0 d2 -1\n"},
        "trec",
        {(Q, P, 2.0), (Q, N, -1.0)},
    ),
    "Tevatron": Sample(
        {
            "train.jsonl": [
                {
                    "query_id": "1",
                    "query": Q,
                    "positive_passages": [{"docid": "d1", "title": "Towns", "text": P}],
                    "negative_passages": [{"docid": "d2", "title": "", "text": N}],
                }
            ]
        },
        "tevatron",
        {(Q, f"Towns {P}", 1.0), (Q, N, 0.0)},
    ),
    "Tevatron with a corpus": Sample(
        {
            "corpus.jsonl": CORPUS,
            "train.jsonl": [
                {"query_id": "1", "query_text": Q, "positive_document_ids": ["1"], "negative_document_ids": ["2"]}
            ],
        },
        "corpus_and_ids",
        {(Q, f"Towns {P}", 1.0), (Q, N, 0.0)},
    ),
    "NeMo's corpus and ids": Sample(
        {
            "corpus/train.parquet": [{"id": "1", "text": P}, {"id": "2", "text": N}],
            "train.json": {  # type: ignore[dict-item]
                "corpus": {"path": "corpus"},
                "data": [{"question_id": "1", "question": Q, "pos_doc": [{"id": "1"}], "neg_doc": [{"id": "2"}]}],
            },
        },
        "corpus_and_ids",
        TRIPLET,
    ),
    "MS MARCO's triples of ids": Sample(
        {
            "collection.tsv": f"10\t{P}\n11\t{N}\n",
            "queries.tsv": f"1\t{Q}\n",
            "triples.jsonl": [{"query_id": 1, "positive_id": 10, "negative_id": 11}],
        },
        "corpus_and_ids",
        TRIPLET,
    ),
    "MS MARCO's triples of texts": Sample({"triples.tsv": f"{Q}\t{P}\t{N}\n"}, "sentence_transformers", TRIPLET),
    "FlagEmbedding": Sample({"train.jsonl": [FLAG]}, "flagembedding", TRIPLET),
    "FlagEmbedding and a candidate pool": Sample(
        {"train.jsonl": [{"query": Q, "pos": [P], "neg": []}], "candidate_pool.jsonl": [{"text": N}]},
        "flagembedding",
        {(Q, P, 1.0), (None, N, None)},
        {"files": {"rows": "train.jsonl", "pool": "candidate_pool.jsonl"}},
    ),
    "GritLM's instructed rows": Sample(
        {"toy.jsonl": [{"query": ["Find it", Q], "pos": [["", P]], "neg": [["", N]]}]}, "gritlm", TRIPLET
    ),
    "sentence-transformers triplets": Sample(
        {"train.csv": [{"anchor": Q, "positive": P, "negative": N}]}, "sentence_transformers", TRIPLET
    ),
    "sentence-transformers numbered negatives": Sample(
        {"train.parquet": [{"query": Q, "positive": P, "negative_1": N, "negative_2": P2}]},
        "sentence_transformers",
        TRIPLET | {(Q, P2, 0.0)},
    ),
    "sentence-transformers list of negatives": Sample(
        {"train.jsonl": [{"anchor": Q, "positive": P, "negatives": [N]}]}, "sentence_transformers", TRIPLET
    ),
    "sentence-transformers pairs": Sample(
        {"train.parquet": [{"anchor": Q, "positive": P}]}, "sentence_transformers", {(Q, P, None)}
    ),
    "cross-encoder rows": Sample(
        {"train.csv": [{"query": Q, "passage": P, "label": 1}, {"query": Q, "passage": N, "label": 0}]},
        "sentence_transformers",
        TRIPLET,
    ),
    "sentence-transformers graded pairs": Sample(
        {"sts.csv": [{"sentence1": Q, "sentence2": P, "score": 2.5}]}, "sentence_transformers", {(Q, P, 2.5)}
    ),
    "NLI": Sample(
        {"nli.jsonl": [{"premise": Q, "hypothesis": P, "label": 0}, {"premise": Q, "hypothesis": N, "label": 2}]},
        "sentence_transformers",
        TRIPLET,
        {"values": {"score": {"0": "1", "1": None, "2": "0"}}},
    ),
    "cross-encoder rows with our names": Sample(
        {"train.csv": [{"query": Q, "document": P, "label": 1}, {"query": Q, "document": N, "label": 0}]},
        "sentence_transformers",
        TRIPLET,
    ),
    "pairs and a grade": Sample(
        {"train.jsonl": [{"query": Q, "document": P, "relevance": 2}]},
        "jsonl",
        {(Q, P, 2.0)},
        {"fields": {"query": "query", "document": "document", "score": "relevance"}},
    ),
    "Quora's duplicates": Sample(
        {"train.tsv": f"id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\t{Q}\t{Q2}\t0\n"},
        "sentence_transformers",
        {(Q, Q2, 0.0)},
    ),
    "mteb's reranking": Sample(
        {"test.jsonl": [{"query": Q, "positive": [P], "negative": [N]}]},
        "jsonl",
        TRIPLET,
        {"shape": LISTS, "fields": {"query": "query", "positives": "positive", "negatives": "negative"}},
    ),
    "sentence-transformers labelled texts": Sample(
        {"train.jsonl": [{"sentence": Q, "label": 3, "label_text": "place"}]}, "sentence_transformers", {(Q, "place")}
    ),
    "mteb's lists": Sample(
        {"test.jsonl": [{"sentences": [Q, Q2], "labels": ["a", "b"]}]},
        "jsonl",
        {(Q, "a"), (Q2, "b")},
        {"shape": "lists", "fields": {"text": "sentences", "label": "labels"}},
    ),
    "saved data set": Sample({}, "dataset", PLAIN, write=_saved),
    "saved triplets": Sample({}, "sentence_transformers", TRIPLET, write=_saved_triplets),
    "saved splits": Sample({}, "dataset", PLAIN, write=_saved_splits),
    "JSON array": Sample({"faq.json": TWO}, "json", PLAIN),
    "JSON columns of pandas": Sample({"faq.json": json.dumps(pl.DataFrame(TWO).to_pandas().to_dict())}, "json", PLAIN),
    "SQuAD": Sample({"dev.json": json.dumps(SQUAD)}, "squad", {(Q, f"Towns {P}", 1.0), (Q2, f"Towns {P}", 0.0)}),
    "SQuAD of the hub": Sample(
        {
            "train.parquet": [
                {
                    "id": "1",
                    "title": "Towns",
                    "context": P,
                    "question": Q,
                    "answers": {"text": ["r"], "answer_start": [1]},
                }
            ]
        },
        "squad",
        {(Q, f"Towns {P}", 1.0)},
    ),
    "Excel, semicolons and a mark": Sample({"faq.csv": b"\xef\xbb\xbf" + SEMICOLONS.encode()}, "csv", PLAIN),
    "Excel, sep= line": Sample({"faq.csv": "sep=;\r\n" + SEMICOLONS}, "csv", PLAIN),
    "Excel, Unicode text": Sample(
        {"faq.txt": SEMICOLONS.replace(";", "\t").encode("utf-16")}, "tsv", PLAIN, {"quotes": True}
    ),
    "Excel, Windows code page": Sample(
        {"faq.csv": f"query,document\r\nwo ist Köln,{P}\r\n".encode("cp1252")},
        "csv",
        {("wo ist Köln", P, None)},
        {"encoding": ["utf-8", "cp1252"]},
    ),
    "question and answer": Sample(
        {"faq.csv": [{"Question": Q, "Answer": P}]},
        "csv",
        {(Q, P, None)},
        {"fields": {"query": "Question", "document": "Answer"}},
    ),
    "gzip": Sample({"train.jsonl.gz": gzip.compress(json.dumps(FLAG).encode())}, "flagembedding", TRIPLET),
    "bzip2": Sample({"faq.jsonl.bz2": bz2.compress(_encoded("", TWO))}, "jsonl", PLAIN),
    "xz": Sample({"faq.csv.xz": lzma.compress(SEMICOLONS.encode())}, "csv", PLAIN),
    "zstd": Sample(
        {"triples.tsv.zst": pyarrow.compress(f"{Q}\t{P}\t{N}\n".encode(), codec="zstd", asbytes=True)},
        "sentence_transformers",
        TRIPLET,
    ),
    "a note beside the rows": Sample({"about.txt": "These are our questions.\n", "faq.jsonl": TWO}, "jsonl", PLAIN),
    "zip of one file": Sample({"faq.zip": _zipped({"faq.csv": SEMICOLONS, "__MACOSX/._faq.csv": "x"})}, "csv", PLAIN),
}
