"""Settings of sources."""

from typing import Any

import pytest

from components.config import FetchParams, PrepareParams, RegisterParams, SourceParams, WheelOrigin

ORIGIN = {"kind": "local", "path": "x", "licence": "MIT"}


@pytest.mark.parametrize(
    ("format", "setting"),
    [
        *(("jsonl", setting) for setting in ({"pattern": "x"}, {"skip_rows": 1}, {"split": "train"}, {"negatives": 1})),
        ("jsonl", {"delimiter": ";"}),
        ("jsonl", {"quotes": True}),
        ("jsonl", {"columns": {"rows": ["query", "document"]}}),
        ("parquet", {"encoding": "latin-1"}),
        ("dataset", {"encoding": ["utf-8", "latin-1"]}),
        ("collection", {"shape": "lists"}),
        ("flagembedding", {"shape": "positives_and_negatives"}),
        ("text_folders", {"on_missing": "skip"}),
        ("text_lines", {"files": {"pool": "x"}}),
        ("flagembedding", {"min_relevance": 2}),
        ("squad", {"negatives": 2}),
    ],
)
def test_settings_of_another_format_are_refused(format: str, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} has no effect on {format}, \\w+, it belongs to"):
        SourceParams.model_validate({"origin": ORIGIN, "format": format, **setting})


def test_parts_that_a_format_does_not_have_are_refused() -> None:
    for format, part, parts in (("beir", "rows", "corpus, queries, qrels"), ("jsonl", "corpus", "rows, pool")):
        with pytest.raises(ValueError, match=f"files.{part} is no part of {format}; its parts are {parts}"):
            SourceParams.model_validate({"origin": ORIGIN, "format": format, "files": {part: "x"}})
    with pytest.raises(ValueError, match=r"columns\.pool has no effect without files\.pool"):
        SourceParams.model_validate({"origin": ORIGIN, "format": "csv", "columns": {"pool": ["text"]}})


def test_defaults_may_be_written_out() -> None:
    stated = {"shape": "rows", "encoding": "utf-8", "skip_rows": 0, "files": {}, "on_missing": "refuse"}
    SourceParams.model_validate({"origin": ORIGIN, "format": "parquet", **stated})


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/x", "a/b", "-r", ".hidden", "<script>", "x.lock", "a..b", "", "ü"]
)
def test_names_that_leave_the_stage_s_folder_are_refused(name: str) -> None:
    source = {"origin": {"kind": "local", "path": "x", "licence": "MIT"}, "format": "jsonl"}
    model = {"origin": source["origin"]}
    task = {"kind": "retrieval", "instruction": "Find"}
    for section, raw in (
        (FetchParams, {"sources": {name: source}, "models": {}}),
        (FetchParams, {"sources": {}, "models": {name: model}}),
        (PrepareParams, {"tasks": {name: task}}),
        (RegisterParams, {"name": name}),
    ):
        with pytest.raises(ValueError, match="is no name: use letters, digits"):
            section.model_validate(raw)


def test_package_and_version_are_no_options_of_pip() -> None:
    given = {"kind": "wheel", "sha256": "0" * 64, "path": "x", "licence": "MIT"}
    WheelOrigin.model_validate({**given, "package": "some.text-data", "version": "1.0rc1+cpu"})
    for wrong in ({"package": "--index-url=http://evil"}, {"version": "--pre"}, {"package": "a @ http://evil"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            WheelOrigin.model_validate({**given, "package": "a", "version": "1", **wrong})
