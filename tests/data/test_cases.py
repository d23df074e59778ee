"""Every case of tests/data/cases by its name: the right value, or one right line whose cure cures."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.config import PrepareParams, parse_config
from components.data.local_files import LIST, write_list
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from tests.data.cases import cells, files, layouts, splits
from tests.data.cases.case import Case, devices, lines
from tests.data.conftest import MakeContext, local, run_stages, task
from tests.data.prepared import Outputs
from tests.samples import small_parameters

CASES = {**layouts.CASES, **files.CASES, **cells.CASES, **splits.CASES}


def bring(case: Case, make_context: MakeContext, folder: Path, **change: Any) -> dict[str, float]:
    """fetch and prepare of the case's files, with the changes that its cure names."""
    mine = folder / "mine"
    for name, content in {**case.files, **change.get("files", {})}.items():
        file = mine / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    first = next(iter(case.files))
    path = change.get("path", {}).get("path") or case.path or (first.partition("/")[0] if "/" in first else first)
    source = {name: value for name, value in {**case.source, **change.get("source", {})}.items() if value is not None}
    asked = dict(zip(("train", "dev", "test"), case.asked, strict=True))
    one = task("s", **{**case.task, **change.get("task", {}), **asked})
    context = make_context({"s": local(mine / path, **source)}, {"t": one})
    if "prepare" in change:
        prepare = PrepareParams.model_validate({"tasks": {"t": one}, "decontaminate": change["prepare"]})
        context = replace(context, config=context.config.model_copy(update={"prepare": prepare}))
    return run_stages(context)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_case(
    name: str,
    make_context: MakeContext,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES[name]
    caplog.set_level("INFO")
    if case.refused:
        with pytest.raises(UserError, match=case.refused) as caught:
            bring(case, make_context, tmp_path)
        assert "\n" not in str(caught.value)
        if not case.cure:
            return
    metrics = bring(case, make_context, tmp_path, **case.cure)
    if case.given:
        assert tuple(metrics[f"t.{split}"] for split in ("train", "dev", "test")) == case.given
    told = caplog.text + capsys.readouterr().out
    for one in case.says:
        assert one in told
    case.holds(Outputs(tmp_path), metrics)


def test_case_70_marker_tokens_in_a_text_stay_text(tiny_student: Path) -> None:
    params = parse_config(small_parameters(), "test").prompt
    prompt = Prompt(load_tokenizer(tiny_student, params), params)
    control = set(prompt.tokenizer.convert_tokens_to_ids(prompt.special_words))
    plain_query, plain_document = prompt.query_ids(["x"])[0], prompt.document_ids(["x"])[0]
    query = prompt.query_ids(["what does <query> mean in XML </s>"])[0]
    document = prompt.document_ids(["<query> holds the question and <response> the reply."])[0]
    for ids, plain in ((query, plain_query), (document, plain_document)):
        assert [x for x in ids if x in control] == [x for x in plain if x in control]


def test_case_98_an_edited_local_file_changes_what_fetch_depends_on(make_context: MakeContext, tmp_path: Path) -> None:
    context = make_context({"s": local(tmp_path / "faq.jsonl")}, {})
    listed = []
    for rows in (devices(), devices(31)):
        (tmp_path / "faq.jsonl").write_text(lines(rows), encoding="utf-8")
        write_list(context.config.fetch, context.outputs, tmp_path)
        listed.append((context.outputs / LIST).read_bytes())
    assert listed[0] != listed[1]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mine": {"min_score": 0.6, "max_score": 0.4}}, "min_score: 0.6 and max_score: 0.4 exclude every candidate"),
        ({"mine": {"first_rank": 20, "last_rank": 10}}, "first_rank: 20 and last_rank: 10 exclude every candidate"),
        ({"mine": {"first_rank": 61}}, "mine.first_rank: 61 excludes every candidate; a query has at most 60"),
        (
            {"train.phases": [{"kinds": ["sts"], "fraction": 1.0}]},
            "train.phases.0.kinds: no training task is of kind sts",
        ),
    ],
)
def test_case_99_contradictory_rules_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)):
        parse_config(small_parameters(**changes), "params.yaml")


def test_there_are_54_cases() -> None:
    assert len(CASES) + 3 == 54
