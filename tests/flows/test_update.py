"""An update trains on what is new since production; if nothing is, no stage after prepare runs."""

import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.config import parse_config
from components.config.overrides import apply_overrides
from components.training.pair_keys import read_trained_on
from flows import update as module
from flows.update import judged_pairs, mined_pairs, update_parameters
from tests.samples import ROOT, small_parameters, write_training_tables


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose production model was trained on 12 pairs a task; flow, git, DVC and MLflow are stubs."""
    write_training_tables(tmp_path / "production", 12)
    adapter = tmp_path / "production" / "train" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())

    @contextmanager
    def isolated(*_: Any) -> Any:
        yield tmp_path

    def get(where: Path, what: str, *arguments: str) -> None:
        name = arguments[1].removeprefix("outputs/")
        shutil.copytree(tmp_path / "production" / name, arguments[-1], dirs_exist_ok=True)

    version = SimpleNamespace(version="3", tags={"git.commit": "abc", "gate.verdict": "promote"})
    for name, stub in {
        "find_version": lambda *_: version,
        "registry_client": lambda root: None,
        "resolve_commit": lambda root, commit: commit,
        "run_streamed": lambda *_: 0,
        "run_dvc": get,
        "get_run_logger": lambda: SimpleNamespace(info=lambda text: None),
    }.items():
        monkeypatch.setattr(module, name, stub)
    monkeypatch.setattr(module.isolation, "isolated_worktree", isolated)
    monkeypatch.setattr(module.isolation, "begin_from_newest", lambda *_: None)
    return tmp_path


def test_new_pairs_start_a_run_on_production_s_adapter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_training_tables(root / "outputs", 14)
    asked: dict[str, Any] = {}
    monkeypatch.setattr(module, "pipeline", lambda **given: asked.update(given) or {"train": "executed"})
    assert module.update.fn(root=str(root), replay=0.5) == {"train": "executed"}
    assert asked["isolated"]
    parameters = asked["parameters"]
    cache = root / ".cache"
    before, now = (judged_pairs(root / name / "prepare", cache) for name in ("production", "outputs"))
    assert len(np.setdiff1d(now, before)) == 4
    assert parameters["train.steps"] == 43, "6 of 26 pairs: that share of the recipe's 185 steps"
    folder = root / parameters["fetch.models.production_adapter"]["origin"]["path"]
    known = read_trained_on(folder).to_numpy()
    assert known.tolist() == before.tolist()
    assert set(mined_pairs(root / "production", cache)) <= set(known)


def test_nothing_new_runs_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_training_tables(root / "outputs", 12)

    def never(**_: Any) -> None:
        raise AssertionError("a pipeline was started")

    monkeypatch.setattr(module, "pipeline", never)
    assert module.update.fn(root=str(root)) == {}


def test_a_failing_prepare_ends_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_streamed", lambda *_: 1)
    with pytest.raises(UserError, match="up to prepare failed"):
        module.update.fn(root=str(root))


def test_its_parameters_are_valid() -> None:
    recipe = parse_config(small_parameters(**{"train.steps": 100, "train.warmup_steps": 25}), "test").train
    changes = update_parameters(Path(".cache/updates/model-3"), recipe, 10, 0.5, 0.5)
    config = parse_config(apply_overrides(small_parameters(), changes), "test")
    assert config.train.merge is not None
    assert config.train.merge.method == "slerp"
    assert config.train.replay == 0.5
    assert (config.train.steps, config.train.warmup_steps) == (10, 2)
