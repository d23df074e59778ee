"""foundry data inspect: a file is named, shown, and written as a block that params.yaml takes."""

import gzip
import json
from pathlib import Path

import pytest
import yaml

from components.config import SourceParams
from tests.command import foundry

ROWS = [{"query": f"where is {n}", "pos": [f"here, {n}"], "neg": ["there"], "type": "normal"} for n in range(20)]


def test_inspect_prints_the_layout_three_rows_and_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "my").mkdir()
    monkeypatch.chdir(tmp_path / "my")
    Path("train.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    assert foundry("data", "inspect", "train.jsonl.gz") == 0
    said, _, block = capsys.readouterr().out.partition("\nFor params.yaml or a recipe:\n\n")
    assert said.splitlines() == [
        "train.jsonl.gz: flagembedding: query with lists pos and neg (format: flagembedding), 40 rows",
        "  row 1  query: where is 0 | document: here, 0 | score: 1.0",
        "  row 2  query: where is 0 | document: there | score: 0.0",
        "  row 3  query: where is 1 | document: here, 1 | score: 1.0",
        "columns that nothing reads: type",
    ]
    pasted = yaml.safe_load(block)
    source = pasted["fetch"]["sources"]["train"]
    assert (source["origin"]["path"], source["format"]) == ("my/train.jsonl.gz", "flagembedding")
    SourceParams.model_validate(source)
    assert pasted["prepare"]["tasks"]["train"]["train"] == 16


def test_a_file_that_does_not_read_is_named_with_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"query": "a", "document": "b"}\n{"query": "a", "document": ""}\n')
    assert foundry("data", "inspect", str(tmp_path / "a.jsonl")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: looks like rows with our own column names (jsonl), and does not read: ")
    assert said.count("\n") == 1
    assert "a.jsonl: row 2: field document: empty" in said
    assert foundry("data", "inspect", str(tmp_path / "none.csv")) == 1
    assert "none.csv: no such file or folder" in capsys.readouterr().err


def test_a_guessed_encoding_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"Как вернуть товар {n}?;Обратитесь в службу поддержки.\r\n" for n in range(20))
    (tmp_path / "faq.csv").write_bytes(f"вопрос;ответ\r\n{rows}".encode("cp1251"))
    assert foundry("data", "inspect", str(tmp_path / "faq.csv")) == 0
    said = capsys.readouterr().out
    assert "  row 1  query: Как вернуть товар 0? | document: Обратитесь в службу поддержки.\n" in said
    assert "the encoding is a guess by the letters; look at the rows\n" in said
