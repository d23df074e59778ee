"""Settings of sources."""

import pytest

from components.config import FetchParams, PrepareParams, RegisterParams, SourceParams, WheelOrigin


def test_settings_of_another_format_are_refused() -> None:
    origin = {"kind": "local", "path": "x", "licence": "MIT"}
    for setting in ({"pattern": "x"}, {"skip_rows": 1}, {"split": "train"}, {"negatives": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} has no effect on jsonl, rows, it belongs to"):
            SourceParams.model_validate({"origin": origin, "format": "jsonl", **setting})


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
