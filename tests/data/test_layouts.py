"""Layouts: what a file lacks is named with the way out, and columns are found by the table."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.config import SourceParams
from components.data.formats import read_source
from components.data.layouts import LAYOUTS, find_columns
from components.data.origins import Files
from tests.data.test_formats import read, rows, write

Row = dict[str, Any]


def lines(path: Path, *values: Row) -> Path:
    return write(path, "".join(json.dumps(one) + "\n" for one in values))


@pytest.mark.parametrize(
    ("format", "row", "message"),
    [
        (
            "jsonl",
            {"query": "q", "pos": ["p"]},
            "field query: are the only columns of ours .*, or format: flagembedding,",
        ),
        (
            "jsonl",
            {"anchor": "a", "positive": "p"},
            "none is one of ours .*; set `fields`, or format: sentence_transformers",
        ),
        ("jsonl", {"version": "1", "data": []}, "set `fields`, or format: squad, which has these columns"),
        ("flagembedding", {"query": "q", "pos": [["", "p"]]}, r"field pos\[0\]: holds a list, .*format: gritlm reads"),
        (
            "flagembedding",
            {"query": "q", "pos": [{"text": "p"}]},
            r"field pos\[0\]: holds a dict, .*format: tevatron reads",
        ),
        ("flagembedding", {"query": "q"}, "field pos: missing for format flagembedding; the row has query: correct"),
        ("gritlm", {"query": "q", "pos": [["a", "b", "c"]]}, r"field pos\[0\]: expected \[instruction, text\]"),
        ("gritlm", {"query": 1, "pos": []}, r"field query: expected \[instruction, text\]"),
        (
            "tevatron",
            {"query": "q", "positive_passages": [{"docid": "1", "title": "t"}]},
            r"field positive_passages\[0\]: a passage without a text; it has docid, title",
        ),
        (
            "tevatron",
            {"query": "q", "positive_passages": [{"docid": "1", "text": 5}]},
            r"field positive_passages\[0\]\.text: holds a int, expected text",
        ),
        (
            "sentence_transformers",
            {"premise": "a", "hypothesis": "b", "label": 0},
            "field label: is a class of .*, no grade: set `values: {score: {'0': '1', '1': null, '2': '0'}}`",
        ),
        ("sentence_transformers", {"a": "x"}, "missing for format sentence_transformers; the row has a"),
        ("squad", {"title": "t", "paragraphs": {}}, "field paragraphs: missing or not a list of objects"),
    ],
)
def test_what_does_not_fit_is_named_with_the_way_out(tmp_path: Path, format: str, row: Row, message: str) -> None:
    with pytest.raises(UserError, match=rf"a\.jsonl: row 1: .*{message}"):
        read(lines(tmp_path / "a.jsonl", row), format)


def test_no_two_columns_of_a_layout_mean_the_same_to_us() -> None:
    for layouts in LAYOUTS.values():
        for layout in layouts:
            names = [spec for spec in layout.columns.values() if isinstance(spec, str)]
            first = [name.split("|")[0].removesuffix("?").removesuffix("#") for name in names]
            found, missing = find_columns(layout.columns, [*first, "title", "text", "context"])
            assert not missing
            used = [name for columns in found.values() for name in columns]
            assert len(used) == len(set(used)), layout.about


def test_columns_may_be_nested_and_joined(tmp_path: Path) -> None:
    row = {"meta": {"q": "where", "a": {"b": "here"}}, "title": "T", "head.line": "H"}
    fields = {"query": "meta.q", "document": ["title", "head.line", "meta.a.b"]}
    assert rows(lines(tmp_path / "a.jsonl", row), "jsonl", fields=fields) == [
        {"query": "where", "document": "T H here"}
    ]
    with pytest.raises(UserError, match=r"row 1: field meta\.c: missing; the row has meta, title, head\.line"):
        read(lines(tmp_path / "a.jsonl", row), "jsonl", fields={**fields, "query": "meta.c"})


def test_other_files_of_a_package_or_repository_are_told(tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", {"anchor": "q", "positive": "p"})
    write(tmp_path / "README.md", "x")
    origin = {"kind": "local", "path": "x", "licence": "MIT"}
    params = SourceParams.model_validate({"origin": origin, "format": "sentence_transformers"})
    _, counts = read_source(Files(tmp_path, ["README.md", "train.jsonl"], "", ""), params)
    assert counts.skipped == ["README.md"]


def test_fields_name_the_columns_of_a_layout_that_differ(tmp_path: Path) -> None:
    row = {"anchor": "q", "positive": "p", "hard_1": "a", "hard_2": "b", "kind": "x"}
    fields = {"negative": ["hard_1", "hard_2"], "label": "kind"}
    found = rows(lines(tmp_path / "a.jsonl", row), "sentence_transformers", fields=fields)
    assert [(row["document"], row["score"], row["label"]) for row in found] == [
        ("p", 1.0, "x"),
        ("a", 0.0, "x"),
        ("b", 0.0, "x"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query": "q",\n"document": }', r"a\.json: line 2: not valid JSON \(Expecting value\)"),
        ('{"query": {"0": "q"}, "document": {"1": "d"}}', r"a\.json: columns of different rows"),
        ('{"query": ["a", "b"], "document": ["c"]}', r"a\.json: neither a list of objects nor columns of one length"),
        ("[1]", r"a\.json: row 1: holds a int, expected an object"),
        ("[" * 100_000, r"a\.json: line 1: not readable JSON"),
        ('[{"query": "q",\n"query": "r"}]', r"a\.json: line 1: .*key 'query' occurs twice in an object"),
        ('{"rows": [], "rows": [{"query": "q"}]}', "key 'rows' occurs twice in an object"),
        (
            '{"train": [{"query": "q"}], "test": [{"query": "r"}]}',
            r"holds 2 lists of objects \(train, test\); write each",
        ),
        ('{"7": {"query": "q", "document": "d"}}', "an object for each row by its key, the first with query, document"),
        ('{"7": {"a": "q"}, "8": {"a": "q"}}', "row 1: field 7, 8: none is one of ours"),
        ("[]", r"a\.json: no rows"),
        ("", r"a\.json: line 1: not valid JSON"),
    ],
)
def test_a_json_document_that_holds_no_rows(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.json", text), "json")


def test_encodings_of_byte_order_marks_need_no_setting(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        for name, text in (
            ("a.csv", "query;document\nwo;Köln\n"),
            ("a.jsonl", '{"query": "wo", "document": "Köln"}\n'),
        ):
            path = write(tmp_path / name, text, encoding)
            assert rows(path, name.split(".")[1]) == [{"query": "wo", "document": "Köln"}]
    with pytest.raises(UserError, match=r"a\.csv: every other byte is 0, as in utf-16; set `encoding: utf-16-le`"):
        read(write(tmp_path / "a.csv", "query,document\na,b\n", "utf-16-le"), "csv")
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfquery,document\n\xff,b\n")
    with pytest.raises(UserError, match="begins with the byte order mark of utf-8-sig, and is not utf-8-sig text"):
        read(tmp_path / "a.csv", "csv")


def test_delimiters_quotes_and_columns_may_be_stated(tmp_path: Path) -> None:
    pair = [{"query": "a", "document": "b;c"}]
    assert rows(write(tmp_path / "a.csv", "query#document\na#b;c\n"), "csv", delimiter="#") == pair
    assert rows(write(tmp_path / "a.csv", "a,b;c\n"), "csv", columns={"rows": ["query", "document"]}) == pair
    assert rows(write(tmp_path / "a.tsv", 'query\tdocument\na\t"b;c"\n'), "tsv", quotes=True) == pair
    with pytest.raises(UserError, match=r"row 1: 2 cells, the header has 1: 'query#document'; set the source's `delim"):
        read(write(tmp_path / "a.csv", "query#document\na#b,c\n"), "csv")
    with pytest.raises(UserError, match=r"row 1: 2 cells, 3 columns are stated .*; set the source's `columns`"):
        read(write(tmp_path / "a.csv", "a,b\n"), "csv", columns={"rows": ["query", "document", "label"]})


def test_a_zip_file_is_a_folder_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in (
            ("in/a.jsonl", '{"query": "q", "document": "d"}\n'),
            ("in/README.md", "x"),
            (".DS_Store", "y"),
        ):
            archive.writestr(name, text)
    assert rows(tmp_path / "a.zip", "jsonl") == [{"query": "q", "document": "d"}]
    whole = (tmp_path / "a.zip").read_bytes()
    for broken in (whole[: len(whole) // 2], whole.replace(b'"q"', b'"r"'), b"PK"):
        (tmp_path / "b.zip").write_bytes(broken)
        with pytest.raises(UserError, match=r"b\.zip: cannot be unpacked \(.+\); download it again"):
            read(tmp_path / "b.zip", "jsonl")
    with zipfile.ZipFile(tmp_path / "c.zip", "w"):
        pass
    with pytest.raises(UserError, match=r"c\.zip: an archive without files"):
        read(tmp_path / "c.zip", "jsonl")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_wrong_in_a_zip_file_is_told_under_the_user_s_own_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.jsonl", '{"query": "q", "document": ""}\n')
    with pytest.raises(UserError, match=rf"^{tmp_path}/a\.zip/a\.jsonl: row 1: field document: empty"):
        read(tmp_path / "a.zip", "jsonl")
    locked = bytearray((tmp_path / "a.zip").read_bytes())
    locked[6] |= 1  # the flag of encryption, in the file's header and in the list of files
    locked[locked.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(locked)
    with pytest.raises(UserError, match=r"b\.zip: is encrypted; unpack it yourself, and name the folder"):
        read(tmp_path / "b.zip", "jsonl")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for query in ("q", "r"):
            archive.writestr("a.jsonl", f'{{"query": "{query}", "document": "d"}}\n')
    with pytest.raises(
        UserError, match=r"c\.zip: two of its files are called a\.jsonl; unpack it yourself, and rename"
    ):
        read(tmp_path / "c.zip", "jsonl")


def test_what_save_to_disk_wrote_is_read_by_split(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {name: Dataset.from_list([{"query": name, "document": "d"}]) for name in ("train", "test", "extra")}
    DatasetDict(parts).save_to_disk(str(tmp_path / "in"))
    assert rows(tmp_path / "in", "dataset", split="extra") == [{"query": "extra", "document": "d"}]
    with pytest.raises(UserError, match="splits train, test, extra; 'extra' is none of ours: choose one with `split`"):
        read(tmp_path / "in", "dataset")
    with pytest.raises(UserError, match="no split 'dev'; it has train, test, extra"):
        read(tmp_path / "in", "dataset", split="dev")
    write(tmp_path / "other/a.txt", "x")
    with pytest.raises(UserError, match=r"other: not a folder that save_to_disk wrote"):
        read(tmp_path / "other", "dataset")


def test_rows_may_have_an_instruction_of_their_own(tmp_path: Path) -> None:
    flag = {"query": "q", "pos": ["p"], "prompt": "Find it: "}
    grit = {"query": ["Find it", "q"], "pos": [["", "p"]]}
    alone = {"query": "q", "document": "p", "instruction": "Find it"}
    for row, asked, format, more in (
        (flag, "Find it:", "flagembedding", {}),
        (flag, "Find it:", "jsonl", {"shape": "positives_and_negatives"}),
        (grit, "Find it", "gritlm", {}),
        (
            alone,
            "Find it",
            "jsonl",
            {"fields": {"query": "query", "document": "document", "instruction": "instruction"}},
        ),
    ):
        found = rows(write(tmp_path / "a.jsonl", json.dumps(row) + "\n"), format, **more)
        assert [(one["query"], one["document"], one["instruction"]) for one in found] == [("q", "p", asked)]
    assert "instruction" not in rows(write(tmp_path / "a.jsonl", json.dumps(alone)), "jsonl")[0]  # it must be named


def test_a_header_in_the_middle_is_no_row(tmp_path: Path) -> None:
    one = "query,document\na,b\n"
    for joined in (one + one, one + "\ufeff" + one):
        with pytest.raises(UserError, match=r"a\.csv: row 2: repeats the header, as joined files do; remove the line"):
            read(write(tmp_path / "a.csv", joined), "csv")


def test_an_error_shows_the_first_of_very_many_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(lines(tmp_path / "a.jsonl", {f"column {n}": "x" for n in range(2000)} | {"a\nb": "x"}), "jsonl")
    assert len(str(caught.value)) < 500
    assert " more: none is one of ours" in str(caught.value)


def test_a_saved_data_set_may_have_any_layout(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    row = {"query": "q", "positive_passages": [{"docid": "1", "title": "T", "text": "p"}], "negative_passages": []}
    parts = {name: Dataset.from_list([row]) for name in ("train", "validation", "extra")}
    DatasetDict(parts).save_to_disk(str(tmp_path / "in"))
    assert [row["document"] for row in rows(tmp_path / "in", "tevatron", split="extra")] == ["T p"]
    with pytest.raises(UserError, match="'extra' is none of ours: choose one with `split`"):
        read(tmp_path / "in", "tevatron")
    del parts["extra"]
    DatasetDict(parts).save_to_disk(str(tmp_path / "two"))
    assert [row["split"] for row in rows(tmp_path / "two", "tevatron")] == ["train", "dev"]
    with pytest.raises(UserError, match=r"split: .* is no folder that save_to_disk wrote, which has splits; remove it"):
        read(lines(tmp_path / "b/a.jsonl", row), "tevatron", split="train")
