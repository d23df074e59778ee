"""The entry point: outputs appear whole or not at all, scratch survives a kill and belongs to its inputs."""

import json
import types

import pytest
import yaml

from components.base.errors import UserError
from components.stage import run as stage
from components.stage import stages
from tests.command import foundry
from tests.samples import ROOT, small_parameters

pytestmark = pytest.mark.usefixtures("no_upload")


class Toy:
    """Stands in for a stage's module; `run` is what each test makes it."""

    def __init__(self) -> None:
        self.run = lambda context: {"rows": 1.0}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose `prepare` stage is a toy."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_parameters()), encoding="utf-8")
    (tmp_path / "components").symlink_to(ROOT / "components")
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    fetched = tmp_path / "outputs" / "fetch"
    fetched.mkdir(parents=True)
    (fetched / "metrics.json").write_text("{}", encoding="utf-8")
    toy = Toy()
    monkeypatch.setitem(stages.STAGES, "prepare", "toy")
    monkeypatch.setattr(stages.importlib, "import_module", lambda name: types.SimpleNamespace(run=toy.run))
    return tmp_path, toy


@pytest.mark.slow
def test_outputs_and_metrics_appear_when_the_stage_ends(checkout):
    root, toy = checkout

    def run(context):
        (context.out / "table.txt").write_text("x", encoding="utf-8")
        assert not (root / "outputs" / "prepare").exists()
        return {"rows": 2.0}

    toy.run = run
    stage.run_stage("prepare", root)
    assert json.loads((root / "outputs" / "prepare" / "metrics.json").read_text()) == {"rows": 2.0}
    assert (root / "outputs" / "prepare" / "table.txt").is_file()
    assert not list((root / ".cache" / "work").glob("prepare*"))


@pytest.mark.slow
def test_a_stage_whose_input_was_never_made_is_one_line(checkout):
    root, _ = checkout
    (root / "outputs" / "fetch" / "metrics.json").unlink()
    (root / "outputs" / "fetch").rmdir()
    with pytest.raises(UserError, match=r"^outputs/fetch: missing; run what makes it first \(dvc repro prepare\)$"):
        stage.run_stage("prepare", root)


@pytest.mark.slow
def test_a_failing_stage_leaves_the_old_outputs_and_keeps_its_scratch(checkout):
    root, toy = checkout
    stage.run_stage("prepare", root)

    def run(context):
        (context.out / "half.txt").write_text("x", encoding="utf-8")
        (context.work / "shard-0").write_text("x", encoding="utf-8")
        raise UserError("data.jsonl: row 3: field query: empty; remove the row")

    toy.run = run
    with pytest.raises(UserError):
        stage.run_stage("prepare", root)
    assert not (root / "outputs" / "prepare" / "half.txt").exists()
    found = []
    toy.run = lambda context: found.extend(path.name for path in context.work.iterdir()) or {}
    stage.run_stage("prepare", root)
    assert found == ["shard-0"]


@pytest.mark.slow
def test_scratch_of_other_inputs_is_not_found(checkout):
    root, toy = checkout

    def run(context):
        (context.work / "shard-0").write_text("x", encoding="utf-8")
        raise UserError("stop")

    toy.run = run
    with pytest.raises(UserError):
        stage.run_stage("prepare", root)
    (root / "outputs" / "fetch" / "metrics.json").write_text('{"changed": 1}', encoding="utf-8")
    found = []
    toy.run = lambda context: found.extend(context.work.iterdir()) or {}
    stage.run_stage("prepare", root)
    assert found == []


@pytest.mark.slow
def test_bad_input_is_one_line_and_exit_1(checkout, monkeypatch, capsys):
    root, toy = checkout

    def run(context):
        raise UserError("data.jsonl: row 3: field query: empty; remove the row")

    toy.run = run
    monkeypatch.chdir(root)
    assert foundry("stage", "prepare") == 1
    assert "error: prepare: data.jsonl: row 3: field query: empty; remove the row\n" in capsys.readouterr().err
    assert foundry("stage", "nonsense") == 1
    assert "error: nonsense: no such stage; stages: local_files, fetch, prepare, " in capsys.readouterr().err
