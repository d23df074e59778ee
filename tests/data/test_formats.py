"""Formats: each reader gives our columns; a bad row is named by file, row and field; nothing is lost in silence."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from components.config import SourceParams
from components.data.formats import Counts, read_source
from components.data.origins import collect


def read(path: Path, format: str, **more: Any) -> tuple[pl.DataFrame, Counts]:
    origin = {"kind": "local", "path": str(path), "licence": "MIT"}
    params = SourceParams.model_validate({"origin": origin, "format": format, **more})
    return read_source(collect(params, "k", path.parent / ".cache"), params)


def rows(path: Path, format: str, **more: Any) -> list[dict[str, Any]]:
    return read(path, format, **more)[0].to_dicts()


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


PAIRS = {"query": "question", "document": "passage"}


def test_jsonl_with_named_fields(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", '{"question": " q ", "passage": "p", "other": 1}\n\n{"question": "r", "passage": "s"}'
    )
    assert rows(file, "jsonl", fields=PAIRS) == [{"query": "q", "document": "p"}, {"query": "r", "document": "s"}]


def test_our_own_names_need_no_fields(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"query": "q", "document": "p", "noise": [1]}\n')
    assert rows(file, "jsonl") == [{"query": "q", "document": "p"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "q", "passage": "p"}\n{"question": ', r"a\.jsonl: row 2: not valid JSON"),
        ('["q", "p"]\n', r"a\.jsonl: row 1: not a JSON object"),
        ('{"question": "q"}\n', r"a\.jsonl: row 1: field passage: missing; the row has question"),
        ('{"question": "q", "passage": "p"}\n{"question": "q", "passage": " "}\n', r"row 2: field passage: empty; "),
        ('{"question": "q", "passage": null}\n', "row 1: field passage: empty; "),
        ('{"question": "q", "passage": ["p"]}\n', "row 1: field passage: holds a list, expected text"),
        ("\n", "no rows; check the source's path and format"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path / "a.jsonl", text), "jsonl", fields=PAIRS)
    assert "\n" not in str(caught.value)


PAIR = '{"query": "q", "document": "p"}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAIR + '{"query": "alone"}', "row 2: field document: missing, and row 1 has it; the row has query: correct"),
        (PAIR + '{"document": "alone"}', "row 2: field query: missing, and row 1 has it"),
        (PAIR + '{"Query": "q", "document": "p"}', "row 2: field query: missing, .*; the row has Query, document"),
        ('{"document": "alone"}\n' + PAIR, "row 1: field document: are the only columns of ours .*: set `fields`"),
        ('{"text": "a", "label": "b"}\n{"text": "a"}', "row 2: field label: missing"),
        (
            '{"text1": "a", "text2": "b"}\n{"text1": "a", "text2": "b", "score": 1}',
            "row 1: field score: missing b",
        ),
    ],
)
def test_a_row_that_lacks_a_column_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.jsonl", text), "jsonl")


def test_a_row_that_lacks_a_column_is_named_with_the_other_s_file_and_may_be_dropped(tmp_path: Path) -> None:
    write(tmp_path / "in/a.jsonl", PAIR)
    write(tmp_path / "in/pool.jsonl", '{"document": "alone"}\n')
    with pytest.raises(UserError, match=r"pool\.jsonl: row 1: field query: missing, and row 1 of a\.jsonl has it"):
        read(tmp_path / "in", "jsonl")
    frame, counts = read(tmp_path / "in", "jsonl", drop_empty=True)
    assert (len(frame), counts.dropped["empty"]) == (1, 1)


def test_a_pair_may_lack_its_label_and_any_row_its_split(tmp_path: Path) -> None:
    lines = [{"query": "a", "document": "b", "label": None}, {"query": "c", "document": "d", "split": ""}]
    file = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert rows(file, "jsonl") == [
        {"query": "a", "document": "b", "label": None, "split": None},
        {"query": "c", "document": "d", "label": None, "split": None},
    ]
    with pytest.raises(UserError, match="row 1: field label: empty"):
        read(write(file, '{"text": "a", "label": null}'), "jsonl")


def test_no_column_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row 1: field x: none is one of ours .*; set `fields`"):
        read(write(tmp_path / "a.jsonl", '{"x": 1}\n'), "jsonl")


def test_a_field_that_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^fields\.passage: not a column of ours; expected one of query, document"):
        read(write(tmp_path / "a.jsonl", '{"x": 1}\n'), "jsonl", fields={"passage": "x"})


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    lines = [{"query": "a", "document": "b"}, {"query": "a", "document": "b"}, {"query": "", "document": "b"}]
    file = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    frame, counts = read(file, "jsonl", drop_empty=True, drop_duplicates=True)
    assert frame.to_dicts() == lines[:1]
    assert (counts.read, counts.dropped) == (3, {"empty": 1, "duplicate": 1, "value": 0, "missing": 0})
    assert len(rows(write(tmp_path / "b.jsonl", json.dumps(lines[0]) + "\n" + json.dumps(lines[0])), "jsonl")) == 2


def test_values_are_translated_and_unknown_ones_refused(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", '{"text1": "a", "text2": "b", "score": true}\n{"text1": "a", "text2": "c", "score": "no"}'
    )
    known = {"score": {"True": "1", "no": "0"}}
    assert [row["score"] for row in rows(file, "jsonl", values=known)] == [1.0, 0.0]
    with pytest.raises(UserError, match=r"row 2: field score: unexpected value 'no'; `values` knows True"):
        read(file, "jsonl", values={"score": {"True": "1"}})
    frame, counts = read(file, "jsonl", values={"score": {"True": "1", "no": None}})
    assert (len(frame), counts.dropped["value"]) == (1, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [('"high"', "not a number: 'high'"), ("NaN", "empty; correct"), ("Infinity", "not a finite number")],
)
def test_a_score_is_a_finite_number(tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(UserError, match=f"row 1: field score: {message}"):
        read(write(tmp_path / "a.jsonl", f'{{"text1": "a", "text2": "b", "score": {value}}}'), "jsonl")


def test_a_split_is_train_dev_or_test(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "a", "label": "b", "split": "validation"}')
    with pytest.raises(UserError, match="row 1: field split: 'validation' is not a split; expected train, dev, test"):
        read(file, "jsonl")
    assert rows(file, "jsonl", values={"split": {"validation": "dev"}})[0]["split"] == "dev"


def test_csv_follows_rfc_4180(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'text,label\n"one, ""two""\nthree",x\n')
    assert rows(file, "csv") == [{"text": 'one, "two"\nthree', "label": "x"}]


def test_tsv_takes_quotes_as_they_are_and_skips_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tab", 'Category\tText\nd\tstring\nclass\t\nx\tsay "hi\n')
    assert rows(file, "tsv", skip_rows=2, fields={"label": "Category", "text": "Text"}) == [
        {"text": 'say "hi', "label": "x"}
    ]


def test_a_row_with_too_few_cells(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.tsv: row 2: 1 cells, the header has 2; correct or remove the row"):
        read(write(tmp_path / "a.tsv", "text\tlabel\na\tb\nc\n"), "tsv")


def test_an_unclosed_quote_takes_no_rows_with_it(tmp_path: Path) -> None:
    lines = [f"how do I reset {number},doc {number}\n" for number in range(30)]
    lines[3] = 'how do I reset 3,"quoted start only 3\n'
    file = write(tmp_path / "a.csv", "query,document\n" + "".join(lines))
    with pytest.raises(UserError, match=r"a\.csv: row 4: a quote is not closed, or text follows .*; correct the row"):
        read(file, "csv")
    lines[20] = 'how do I reset 20,"closed by chance\n'
    with pytest.raises(UserError, match=r"a\.csv: row 4: a quote is not closed"):
        read(write(file, "query,document\n" + "".join(lines)), "csv")
    lines[20] = 'how do I reset 20,a screen of 5"\n'
    with pytest.raises(UserError, match=r"a\.csv: row 4: a quoted cell spans 18 lines that look like rows"):
        read(write(file, "query,document\n" + "".join(lines)), "csv")
    poem = "\n".join(f"line {number}, and more" if number % 2 else f"line {number}" for number in range(30))
    assert rows(write(file, f'query,document\nq,"{poem}"\n'), "csv") == [{"query": "q", "document": poem}]
    whole = 'query,document\nsay "hi" to 5" screens,"a ""quoted"" word\nand a line"\n'
    assert rows(write(file, whole), "csv") == [
        {"query": 'say "hi" to 5" screens', "document": 'a "quoted" word\nand a line'}
    ]


def test_a_header_is_read_without_its_spaces_and_names_no_column_twice(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "query, document \na,b\n")
    assert rows(file, "csv") == [{"query": "a", "document": "b"}]
    with pytest.raises(UserError, match=r"a\.csv: the header names column 'document' twice"):
        read(write(file, "document,document\na,b\n"), "csv")
    assert rows(write(file, "text,label,note,note,,\na,b,,,,\n"), "csv") == [{"text": "a", "label": "b"}]


@pytest.mark.parametrize("text", ['[\n {\n  "query": "q"', '{\n  "query": "q"', '[{"query": "q", "document": "p"}]'])
def test_one_json_document_is_told_from_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"row 1: not .*; the file looks like one JSON document: set format: json"):
        read(write(tmp_path / "a.json", text), "jsonl")


def test_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"query": ["a", "b"], "document": ["c", None]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: row 2: field document: empty"):
        read(tmp_path / "a.parquet", "parquet")
    assert rows(tmp_path / "a.parquet", "parquet", drop_empty=True) == [{"query": "a", "document": "c"}]
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table([["a"], ["b"]], names=["query", "query"]), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'query' occurs twice"):
        read(tmp_path / "b.parquet", "parquet")
    write(tmp_path / "b.parquet", "not parquet")
    with pytest.raises(UserError, match=r"b\.parquet: not a readable Parquet file"):
        read(tmp_path / "b.parquet", "parquet")


def test_text_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "NUM:count How many ?\nLOC:city Where ?\n")
    pattern = r"(?P<coarse>\w+):(?P<fine>\w+) (?P<question>.+)"
    fields = {"text": "question", "label": "coarse"}
    assert rows(file, "text_lines", pattern=pattern, fields=fields) == [
        {"text": "How many ?", "label": "NUM"},
        {"text": "Where ?", "label": "LOC"},
    ]
    write(file, "NUM:count How many ?\nno label\n")
    with pytest.raises(UserError, match=r"a\.txt: row 2: does not match `pattern`"):
        read(file, "text_lines", pattern=pattern, fields=fields)
    with pytest.raises(UserError, match=r"^pattern: a text_lines source needs"):
        read(file, "text_lines", fields=fields)
    with pytest.raises(UserError, match=r"^pattern: not a regular expression: .*; correct it$"):
        read(file, "text_lines", pattern="(?P<text>", fields=fields)


def test_text_folders_and_a_list_of_encodings(tmp_path: Path) -> None:
    write(tmp_path / "in" / "sports" / "1.txt", "Goal\n\nin Köln", "utf-8")
    write(tmp_path / "in" / "tech" / "1.txt", "£5 app", "latin-1")
    with pytest.raises(UserError, match=r"tech/1\.txt: line 1: not utf-8 text; set the source's `encoding`"):
        read(tmp_path / "in", "text_folders")
    assert rows(tmp_path / "in", "text_folders", encoding=["utf-8", "latin-1"]) == [
        {"text": "Goal in Köln", "label": "sports"},
        {"text": "£5 app", "label": "tech"},
    ]


def test_documents_and_ratings_gives_the_upper_triangle(tmp_path: Path) -> None:
    write(tmp_path / "in" / "docs", "one\ntwo\nthree\n")
    write(tmp_path / "in" / "sim", "1\t0.3\t0.2\n0\t1\t0.9\n0\t0\t1\n")
    fields = {"documents": "docs", "ratings": "sim"}
    assert rows(tmp_path / "in", "documents_and_ratings", fields=fields) == [
        {"text1": "one", "text2": "two", "score": 0.3},
        {"text1": "one", "text2": "three", "score": 0.2},
        {"text1": "two", "text2": "three", "score": 0.9},
    ]
    write(tmp_path / "in" / "sim", "1\t0.3\n")
    with pytest.raises(UserError, match=r"sim: row 1: 2 ratings for 3 documents; the matrix is square"):
        read(tmp_path / "in", "documents_and_ratings", fields=fields)
    with pytest.raises(UserError, match=r"fields\.ratings: None is not a file of the source \(docs, sim\)"):
        read(tmp_path / "in", "documents_and_ratings", fields={"documents": "docs"})


def test_a_schema_that_changed(tmp_path: Path) -> None:
    changed = {"query": "q", "positive": ["p"], "neg": []}
    with pytest.raises(
        UserError, match="row 1: field pos: missing; the row has query, positive, neg: correct `fields`"
    ):
        read(write(tmp_path / "a.jsonl", json.dumps(changed)), "jsonl", shape="positives_and_negatives")


def test_lists(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", '{"sentences": ["a", "b"], "labels": [1, 2]}\n{"sentences": ["c"], "labels": [1]}'
    )
    fields = {"text": "sentences", "label": "labels"}
    assert [tuple(row.values()) for row in rows(file, "jsonl", shape="lists", fields=fields)] == [
        ("a", "1"),
        ("b", "2"),
        ("c", "1"),
    ]
    write(file, '{"sentences": ["a", "b"], "labels": [1]}')
    with pytest.raises(UserError, match=r"row 1: field sentences: lists differ in length: "):
        read(file, "jsonl", shape="lists", fields=fields)
    write(file, '{"sentences": "a", "labels": [1]}')
    with pytest.raises(UserError, match=r"row 1: field sentences: holds a str, expected a list"):
        read(file, "jsonl", shape="lists", fields=fields)


def test_max_rows_and_gzip(tmp_path: Path) -> None:
    lines = "".join(f'{{"text": "t{n}", "label": "x"}}\n' for n in range(5))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert [row["text"] for row in rows(tmp_path / "a.jsonl.gz", "jsonl", max_rows=3)] == ["t0", "t1", "t2"]


def test_a_hub_snapshot_is_read_by_configuration_and_split(tmp_path: Path) -> None:
    for config, split, text in (("en", "train", "one"), ("en", "test", "two"), ("fr", "train", "trois")):
        (tmp_path / config).mkdir(exist_ok=True)
        pl.DataFrame({"text": [text], "label": [0]}).write_parquet(
            tmp_path / config / f"{split}-00000-of-00001.parquet"
        )
    cards = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train-*\n"
        f"  - split: test\n    path: {name}/test-*\n"
        for name in ("en", "fr")
    )
    write(tmp_path / "README.md", f"---\nconfigs:\n{cards}---\n")
    assert rows(tmp_path, "hub", config="en", split="test") == [{"text": "two", "label": "0"}]
    assert rows(tmp_path, "hub", config="fr") == [{"text": "trois", "label": "0"}]
    for wrong in ({"config": "de"}, {"config": "en", "split": "dev"}):
        with pytest.raises(UserError, match=f"config '{wrong['config']}', split "):
            read(tmp_path, "hub", **wrong)


@pytest.mark.parametrize(
    ("name", "format", "settings", "message"),
    [
        (
            "a.jsonl",
            "jsonl",
            {"values": {"lable": {"a": "b"}}},
            r"values\.lable: the source gives query, document, not this",
        ),
        ("a.jsonl", "sentence_transformers", {"delimiter": ";"}, r"delimiter has no effect, as no file is csv or tsv"),
        (
            "a.jsonl",
            "sentence_transformers",
            {"quotes": True},
            r"quotes has no effect, as no file is csv or tsv \(a\.jsonl",
        ),
        ("a.parquet", "sentence_transformers", {"encoding": "latin-1"}, "encoding has no effect, as no file is text"),
    ],
)
def test_a_setting_without_effect_on_these_files_is_refused(
    tmp_path: Path, name: str, format: str, settings: dict[str, Any], message: str
) -> None:
    write(tmp_path / "a.jsonl", '{"query": "q", "document": "d"}\n')
    pl.DataFrame([{"query": "q", "document": "d"}]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        read(tmp_path / name, format, **settings)
