"""`dvc plots show`, `dvc metrics show` and `diff` of both read what the stages leave, with our own templates."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.evaluation.report import write_report
from tests.evaluation.samples import example_values, write_evaluation
from tests.samples import ROOT

CURVE = "task,strategy,shots,score,standard_error,prefix_tokens\na,none,0,0.5,0.02,16\na,diverse,1,0.6,0.02,80\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plots")
    dvc(root, "init", "--no-scm", "-q")
    shutil.copy(ROOT / "dvc.yaml", root)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots")
    models = {"base": example_values(-0.04), "trained": example_values(0.0)}
    write_report(write_evaluation(root / "outputs" / "evaluate", models))
    (root / "outputs" / "select_shots").mkdir()
    (root / "outputs" / "select_shots" / "curve.csv").write_text(CURVE)
    for stage in ("train", "select_shots", "evaluate"):
        (root / "outputs" / stage).mkdir(exist_ok=True)
        (root / "outputs" / stage / "metrics.json").write_text(json.dumps({f"{stage}.mean": 0.5}))
    return root


def dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_plot_has_its_data_and_its_own_template(checkout: Path) -> None:
    shown = json.loads(dvc(checkout, "plots", "show", "--json"))
    assert "errors" not in shown
    specs: dict[str, Any] = {name: plots[0]["content"] for name, plots in shown["data"].items()}
    assert set(specs) == {"scores by task", "differences by task", "dev score by number of shots"}
    for name, spec in specs.items():
        rows = spec["data"]["values"]
        assert rows, name
        assert not {field for field in fields(spec) if any(field not in row for row in rows)} - made(spec), name
        assert "<DVC_METRIC" not in json.dumps(spec), name


def fields(spec: Any) -> set[str]:
    """Every column that a specification reads."""
    if isinstance(spec, list):
        return set().union(*map(fields, spec))
    if not isinstance(spec, dict):
        return set()
    own = {spec["field"]} if "field" in spec else set()
    return own.union(*(fields(value) for key, value in spec.items() if key != "data"))


def made(spec: Any) -> set[str]:
    """Columns that a specification computes itself."""
    return {step["as"] for step in spec.get("transform", ())}


@pytest.mark.slow
def test_the_metrics_of_training_selection_and_evaluation_are_shown(checkout: Path) -> None:
    (shown,) = json.loads(dvc(checkout, "metrics", "show", "--json")).values()
    found = {path: content["data"] for path, content in shown["data"].items()}
    assert found == {
        f"outputs/{stage}/metrics.json": {f"{stage}.mean": 0.5} for stage in ("train", "select_shots", "evaluate")
    }


@pytest.mark.slow
def test_two_commits_are_compared(checkout: Path, tmp_path: Path) -> None:
    root, git = tmp_path / "repo", ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    shutil.copytree(checkout / "outputs", root / "made")
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    pipeline["stages"] = {
        name: {"cmd": f"cp -r made/{name} outputs/{name}", "deps": [f"made/{name}"], "outs": [f"outputs/{name}"]}
        for name in ("train", "select_shots", "evaluate")
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    (root / "outputs").mkdir()
    subprocess.run([*git, "init", "-q"], cwd=root, check=True)
    dvc(root, "init", "-q")
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots", dirs_exist_ok=True)
    for score in (0.5, 0.75):
        (root / "made" / "evaluate" / "metrics.json").write_text(json.dumps({"trained.mean": score}))
        dvc(root, "repro", "-q")
        for command in (["add", "-A"], ["commit", "-qm", str(score)]):
            subprocess.run([*git, *command], cwd=root, check=True)
    found = json.loads(dvc(root, "metrics", "diff", "--json", "HEAD~1"))
    assert found == {"outputs/evaluate/metrics.json": {"trained.mean": {"old": 0.5, "new": 0.75, "diff": 0.25}}}
    drawn = json.loads(dvc(root, "plots", "diff", "--json", "HEAD~1"))["data"]["scores by task"][0]
    assert sorted(drawn["revisions"]) == ["HEAD~1", "workspace"]
