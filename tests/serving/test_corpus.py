"""Corpora: three kinds of file, the task's own documents, and one line for what is no corpus."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from components.base.errors import UserError
from components.contracts.tables import CORPUS, number_rows, write_table
from components.serving.corpus import read_corpus, task_corpus

TEXTS = ["The sky is blue.", "Größe 42", "third"]


def test_text_jsonl_and_parquet_hold_the_same_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The sky is blue.\n\n Größe 42\r\nthird", encoding="utf-8")
    lines = [f'{{"id": {i}, "document": "{text}"}}' for i, text in enumerate(TEXTS)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt", encoding="utf-8") as packed:
        packed.write("\n".join(lines))
    pl.DataFrame({"text": TEXTS, "document": ["not", "these", "ones"]}).write_parquet(tmp_path / "a.parquet")
    for name in ("a.txt", "a.jsonl", "b.jsonl.gz", "a.parquet"):
        assert read_corpus(tmp_path / name) == TEXTS, name


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.txt", None, r"no\.txt: no such file"),
        ("empty.txt", b" \n", r"empty\.txt: no documents in it"),
        ("latin.txt", "Größe".encode("latin-1"), r"latin\.txt: not UTF-8 at byte 2; save it as UTF-8 text"),
        ("a.jsonl", b'{"text": "x"}\n{"text": " "}', r"a\.jsonl: row 2: field text: empty or not a text"),
        ("a.jsonl", b'{"text": 3}', r"a\.jsonl: row 1: field text: empty or not a text"),
        ("a.jsonl", b'{"body": "x"}', r"a\.jsonl: row 1: field text: missing, and so is document; the row has body"),
        ("a.jsonl", b"x", r"a\.jsonl: row 1: not valid JSON"),
        ("a.parquet", b"x", r"a\.parquet: not a readable Parquet file"),
    ],
)
def test_what_is_no_corpus_is_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as problem:
        read_corpus(tmp_path / name)
    assert "\n" not in str(problem.value)


def test_a_task_s_held_out_documents_come_before_those_it_trains_on(tmp_path: Path) -> None:
    prepared, held_out = tmp_path / "prepare" / "corpus.parquet", tmp_path / "prepare" / "benchmark"
    with pytest.raises(UserError, match="no documents of task sky; name a file of your own: --corpus FILE"):
        task_corpus(tmp_path, "sky")
    rows = {"doc_id": ["a", "b", "c"], "text": TEXTS, "task": ["sky", "sea", "sky"]}
    write_table(number_rows(pl.DataFrame(rows), CORPUS), prepared, CORPUS)
    assert task_corpus(tmp_path, "sky") == (prepared, [TEXTS[0], TEXTS[2]])
    with pytest.raises(UserError, match="no documents of task moon"):
        task_corpus(tmp_path, "moon")
    held_out.mkdir()
    pl.DataFrame({"doc_id": ["d"], "text": ["held out"]}).write_parquet(held_out / "sky.corpus.parquet")
    assert task_corpus(tmp_path, "sky") == (held_out / "sky.corpus.parquet", ["held out"])
