"""The scripts of examples/ run as README says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.config import load_config
from tests.evaluation.samples import example_values, write_evaluation
from tests.samples import ROOT


def run_example(name: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One script, started in `folder`."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_every_example_is_tested_and_named_in_readme() -> None:
    tested, readme = Path(__file__).read_text(encoding="utf-8"), (ROOT / "README.md").read_text(encoding="utf-8")
    for file in (ROOT / "examples").glob("*.py"):
        assert f'run_example("{file.stem}"' in tested
        assert f"examples/{file.name}" in readme


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty pairs in a folder with the starter recipe."""
    (tmp_path / "recipes").mkdir()
    shutil.copyfile(ROOT / "recipes" / "starter.yaml", tmp_path / "recipes" / "starter.yaml")
    rows = [json.dumps({"query": f"question {i}", "document": f"answer {i}"}) for i in range(40)]
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "faq.jsonl").write_text("\n".join(rows))
    return tmp_path / "my" / "faq.jsonl"


@pytest.mark.slow
def test_your_own_data_makes_a_recipe(pairs: Path, tmp_path: Path) -> None:
    done = run_example("your_own_data", tmp_path, "my/faq.jsonl")
    assert done.stdout == f"{tmp_path}/recipes/faq.yaml: written; next: foundry run --recipe faq\n", done.stderr
    config = load_config(tmp_path / "recipes" / "faq.yaml")
    task = config.prepare.tasks["faq"]
    assert (task.train, task.dev, task.test) == (32, 4, 4)
    assert "boolq" in config.prepare.tasks
    before = (tmp_path / "recipes" / "faq.yaml").read_bytes()
    again = run_example("your_own_data", tmp_path, "my/faq.jsonl")
    assert "exists already" in again.stderr
    assert (tmp_path / "recipes" / "faq.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_malformed_row_of_your_own_is_one_line(pairs: Path, tmp_path: Path) -> None:
    pairs.write_text('{"query": "x", "document": ""}')
    done = run_example("your_own_data", tmp_path, "my/faq.jsonl")
    assert done.returncode == 1
    assert "faq.jsonl: row 1: field document: empty" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "recipes" / "faq.yaml").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_search_with_your_model_prints_the_best_texts(checkout: Path) -> None:
    (checkout / "texts.txt").write_text("one\ntwo\nthree\nfour\n")
    done = run_example("search_with_your_model", checkout, "texts.txt", "a question", "another")
    lines = done.stdout.splitlines()
    assert [lines[0], lines[4]] == ["a question", "another"], done.stderr
    assert len(lines) == 8
    assert all(line.split()[1] in {"one", "two", "three", "four"} for line in lines[1:4])


@pytest.mark.slow
@pytest.mark.usefixtures("warm_start")
def test_compare_two_runs_prints_differences_and_the_verdict(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "new", {"trained": example_values(0.05)})
    write_evaluation(tmp_path / "old", {"trained": example_values(0.0)})
    done = run_example("compare_two_runs", tmp_path, "new", "old")
    assert done.stdout.count("\nFacts ") == 1, done.stderr
    assert ": promote\n" in done.stdout
    assert ": hold\n" in run_example("compare_two_runs", tmp_path, "old", "new").stdout
