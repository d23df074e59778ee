"""`foundry data inspect`: it names the layouts that people hold, and the block that it prints reads them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.errors import UserError
from components.config import SourceParams
from components.config.types import safe_name
from components.data.formats import read_source
from components.data.inspection import inspect_path, paste_block, source_name
from components.data.origins import collect
from tests.data.layout_samples import SAMPLES, Q
from tests.data.test_formats import write


def shown(row: dict[str, Any]) -> tuple[Any, ...]:
    if "text" in row:
        return row["text"], row["label"]
    asked, answered = ("text1", "text2") if "text1" in row else ("query", "document")
    return row[asked], row[answered], row.get("score")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layout_is_named_and_its_block_reads_it(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    path = sample.place(tmp_path)
    finding = inspect_path(path)
    assert (finding.problem, finding.settings["format"]) == ("", sample.format)
    assert sample.settings.items() <= finding.settings.items()
    block = yaml.safe_load(yaml.safe_dump(paste_block(finding, str(path), "mine")))
    params = SourceParams.model_validate(block["fetch"]["sources"]["mine"])
    rows, _ = read_source(collect(params, "key", tmp_path / ".cache"), params)
    assert {shown(row) for row in rows.to_dicts()} == sample.rows
    assert rows.equals(finding.rows)


def test_splits_of_a_saved_data_set_are_the_rows_own(tmp_path: Path) -> None:
    rows = inspect_path(SAMPLES["saved splits"].place(tmp_path)).rows
    assert rows["split"].to_list() == ["train", "dev"]


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    assert list(inspect_path(SAMPLES["FlagEmbedding"].place(tmp_path)).counts.not_read) == ["type"]
    folder = SAMPLES["BEIR folder"].place(tmp_path / "beir")
    write(folder / "dev.tsv", "x")
    counts = inspect_path(folder).counts
    assert (list(counts.not_read), counts.skipped, counts.without_judgement) == (["metadata"], ["dev.tsv"], 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qrels.txt", "1\t0\td1\t2\n", "TREC judgements alone: put them beside their corpus and queries"),
        ("notes.jsonl", '{"a": 1}\n', r"notes\.jsonl: its columns are a, of no layout that is known"),
        ("empty.csv", "", r"empty\.csv: no rows"),
        ("picture.png", "x", "holds nothing that looks like a data set"),
    ],
)
def test_a_file_that_is_no_data_set(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        inspect_path(write(tmp_path / name, text))


def test_a_path_without_files(tmp_path: Path) -> None:
    (tmp_path / "in/inner").mkdir(parents=True)
    for name, what in (("in", "a folder without files"), ("other", "no such file or folder")):
        with pytest.raises(UserError, match=rf"^{tmp_path}/{name}: {what}; correct the path"):
            inspect_path(tmp_path / name)


def test_a_layout_with_a_bad_row_is_named_with_the_row(tmp_path: Path) -> None:
    finding = inspect_path(write(tmp_path / "a.jsonl", '{"query": "q", "document": "d"}\n{"query": "q"}\n'))
    assert (finding.settings, finding.problem.split(": ", 1)[1][:29]) == (
        {"format": "jsonl"},
        "row 2: field document: missin",
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [("My FAQ (2024).csv.gz", "my-faq-2024"), ("部门.csv", "mine"), ("..jsonl", "mine"), ("a_b.lock.zip", "a_b-lock")],
)
def test_a_source_s_name_is_one_that_the_parameters_take(file: str, name: str) -> None:
    assert source_name(Path(file)) == safe_name(name) == name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("anchor,positive,negative\na,p,\n", "row 1: field negative: empty"),
        ("query,positive,negative_1,negative_2\na,p,n,\n", "row 1: field negative_2: empty"),
    ],
)
def test_a_bad_cell_hides_no_column_that_a_known_layout_reads(tmp_path: Path, rows: str, message: str) -> None:
    finding = inspect_path(write(tmp_path / "a.csv", rows))
    assert finding.settings["format"] == "sentence_transformers"
    assert message in finding.problem


def test_the_likelier_layout_is_the_one_that_is_told_of(tmp_path: Path) -> None:
    write(tmp_path / "in/good/a.txt", "a good film")
    write(tmp_path / "in/bad/b.txt", "")
    finding = inspect_path(tmp_path / "in")
    assert (finding.settings, finding.problem.split(": ", 2)[2]) == (
        {"format": "text_folders"},
        "field text: empty; correct or remove the row, or set drop_empty: true",
    )
    rows = '{"query": "q", "document": "d", "query_id": 1}\n{"query": "q", "document": "d", "query_id": null}\n'
    assert "field query_id: empty" in inspect_path(write(tmp_path / "a.jsonl", rows)).problem


def test_the_task_to_paste_has_a_tenth_each_for_dev_and_test(tmp_path: Path) -> None:
    lines = "".join(f'{{"query": "{Q} {number}", "document": "d{number}"}}\n' for number in range(50))
    finding = inspect_path(write(tmp_path / "a.jsonl", lines))
    task = paste_block(finding, "my/a.jsonl", "a")["prepare"]["tasks"]["a"]
    assert (task["kind"], task["train"], task["dev"], task["test"]) == ("retrieval", 40, 5, 5)
