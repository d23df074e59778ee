"""JSON: lists are read in pieces, objects may follow each other, and what is no row is an error with its cure."""

import json
import tracemalloc
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.config import SourceParams
from components.data.json_files import json_rows
from tests.data.test_formats import read, rows, write

NESTED = [{"query": f"q{n} é", "document": 'd [1, {2}] \\ " ' * n} for n in range(1, 30)]


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_list_is_read_in_pieces(
    piece: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.data.json_stream._PIECE", piece)
    wanted = [(row["query"], row["document"].strip()) for row in NESTED]
    about = {"version": 1.5, "none": None, "tags": ["a"], "rows": NESTED, "more": {"a": [1]}}
    for document in (NESTED, about):
        file = write(tmp_path / "a.json", json.dumps(document, indent=indent, ensure_ascii=False))
        assert [tuple(row.values()) for row in rows(file, "json")] == wanted
    lines = "".join(json.dumps(row) + "\n" for row in NESTED)
    assert [tuple(row.values()) for row in rows(write(tmp_path / "b.json", lines), "json")] == wanted
    for text, message in (
        ('[{"query": "q", "document": "d"}\n{"query": "r"}]', "line 2: not valid JSON .Expecting ',' delimiter"),
        ('[{"query": "q", "document": "d"}]\n\n]', "line 3: not valid JSON .Extra data"),
        ('[{"query": "q", "document": "d"},\n{"query": "cut of', "line 2: not valid JSON .Unterminated string"),
        ('{"rows": [{"query": "q", "document": "d"}], 1: 2}', "line 1: not valid JSON .Expecting property name"),
    ):
        with pytest.raises(UserError, match=message):
            read(write(tmp_path / "c.json", text), "json")


@pytest.mark.slow
def test_memory_holds_an_element_of_a_json_list_and_not_the_file(tmp_path: Path) -> None:
    row = json.dumps({"query": "q" * 100, "document": "d" * 900})
    file = write(tmp_path / "a.json", f"[{', '.join([row] * 20_000)}]")
    params = SourceParams.model_validate(
        {"origin": {"kind": "local", "path": str(file), "licence": "MIT"}, "format": "json"}
    )
    tracemalloc.start()
    assert sum(1 for _ in json_rows(file, params)) == 20_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < file.stat().st_size / 2


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("between", ["", "\n"])
def test_json_objects_may_follow_each_other(indent: int | None, between: str, tmp_path: Path) -> None:
    pairs = [{"query": f"q{n}", "document": f"d{n}"} for n in range(3)]
    text = between.join(json.dumps(row, indent=indent) for row in pairs)
    assert rows(write(tmp_path / "a.json", text), "json") == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query": "q", "document": "d", "document": "e"}', "key 'document' occurs twice in an object"),
        (
            '{"query": "q", "document": "d"}{"query": "r", "document": "e"}',
            "it holds several objects: set format: json",
        ),
        ('{"query": "q", "document": "d"},', "remove the comma at its end"),
        (
            '{"query": "q", "document": "d"}\r{"query": "r", "document": "e"}\r',
            "its lines end in a carriage return alone",
        ),
        ('["q", "d"]', "not a JSON object; expected one object per line, with a name for each text"),
        ('[{"query": "q"}]', "not a JSON object; the file looks like one JSON document: set format: json"),
    ],
)
def test_a_line_that_is_no_row_is_told_with_its_cure(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"a\.jsonl: row 1: .*{message}"):
        read(write(tmp_path / "a.jsonl", text), "jsonl")
