"""`dvc plots show` and `dvc metrics show` draw what the stages leave, with the repository's own templates."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_the_metrics_of_training_selection_and_evaluation_are_shown(checkout: Path) -> None:
    (shown,) = json.loads(dvc(checkout, "metrics", "show", "--json")).values()
    found = {path: content["data"] for path, content in shown["data"].items()}
    assert found == {
        f"outputs/{stage}/metrics.json": {f"{stage}.mean": 0.5} for stage in ("train", "select_shots", "evaluate")
    }
