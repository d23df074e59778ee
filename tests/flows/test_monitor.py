"""The monitor compares with what production was made from; an alert ends it as Drifted, and is an event."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.serving.drift import measure_agreement, measure_novelty
from components.serving.monitor import TaskWatch, Watch
from flows import monitor as module
from flows.monitor import DRIFT_EVENT, PAGE, monitor, restore_inputs
from tests.samples import ROOT


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """A checkout whose registry, git, DVC and Prefect are stubs: what they were asked for."""
    seen: dict[str, list[Any]] = {"worktrees": [], "dvc": [], "events": [], "watched": []}

    @contextmanager
    def isolated(root: Path, revision: str, identity: str) -> Iterator[Path]:
        seen["worktrees"].append(revision)
        made = tmp_path / identity
        made.mkdir()
        (made / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        yield made

    stubs: dict[str, Any] = {
        "find_version": lambda *_: SimpleNamespace(version="3", tags={"git.commit": "abc", "gate.verdict": "promote"}),
        "registry_client": lambda root: None,
        "resolve_commit": lambda root, commit: commit,
        "run_dvc": lambda place, *words: seen["dvc"].append(words[-1]),
        "get_run_logger": lambda: SimpleNamespace(info=lambda text: None),
        "create_markdown_artifact": lambda *_, **__: None,
        "emit_event": lambda name, **_: seen["events"].append(name),
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(module, name, stub)
    monkeypatch.setattr(module.isolation, "isolated_worktree", isolated)
    return seen


def report(*alerts: str) -> Watch:
    rows = np.eye(4, dtype=np.float32)
    found, agreed = measure_novelty(rows, rows, rows), measure_agreement(np.ones(4), np.ones(4))
    return Watch("version 3", 30, [TaskWatch("boolq", 4, found, agreed, [], list(alerts))], {})


@pytest.mark.parametrize("alerts", [(), ("40 % of the queries are novel",)])
def test_an_alert_ends_as_drifted(
    seen: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alerts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(module, "watch", lambda *asked: seen["watched"].append(asked) or report(*alerts))
    ended = monitor.fn(root=str(tmp_path), days=7)
    assert seen["worktrees"] == ["abc"], "the commit of production's run"
    assert seen["dvc"] == ["outputs/prepare", "outputs/fetch/models/dense_teacher"]
    [(made, version, days, _)] = seen["watched"]
    assert (made.parent, version, days) == (tmp_path, "embedding-foundry/3", 7)
    assert (tmp_path / PAGE).read_text().count("40 %") == len(alerts)
    if alerts:
        assert (ended.name, ended.message) == ("Drifted", "boolq: 40 % of the queries are novel")
        assert ended.is_failed()
    else:
        assert ended == []
    assert seen["events"] == [DRIFT_EVENT] * len(alerts)


def test_outputs_that_are_not_in_the_cache_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(place: Path, *words: str) -> str:
        raise UserError("dvc checkout: missing cache files")

    monkeypatch.setattr(module, "run_dvc", fail)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(UserError, match=r"outputs/prepare of the production version is not in DVC's cache: dvc fetch"):
        restore_inputs(tmp_path)
