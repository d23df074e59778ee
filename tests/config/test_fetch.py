"""Settings of sources."""

from typing import Any

import pytest

from components.config import SourceParams

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


def test_defaults_may_be_written_out() -> None:
    stated = {"shape": "rows", "encoding": "utf-8", "skip_rows": 0, "files": {}, "on_missing": "refuse"}
    SourceParams.model_validate({"origin": ORIGIN, "format": "parquet", **stated})
