"""The nine stages by `dvc repro` on a small slice of own data: they end, they are cached, and the bytes repeat.

Data and models are made here (kind: local), so the test needs no network and its models are random: it proves the
pipeline, not its quality.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.base.hashing import content_hash
from components.data.local_files import update_list
from components.stage.run import run_stage
from components.stage.stages import STAGES
from tests.data.test_faq_languages import COURTESY, LETTERS, faq
from tests.models import make_tiny_student
from tests.samples import ROOT, small_parameters
from tests.teacher.conftest import make_dense_teacher
from tests.warm import start_warm

WORDS = """amber birch cedar delta ember fjord grove heath inlet jetty kiosk ledge mango north ocean pearl""".split()  # noqa: SIM905 - a list of words reads best as words


LANGUAGES = ("ja", "zh")


def write_sources(folder: Path) -> None:
    """Pairs of a question and a passage, in Japanese and Chinese too; texts of two labels; graded pairs."""
    pairs = [
        {"query": f"what is {w}{v}", "document": f"{w}{v} means {v} and {w}, seen at {WORDS[i - 1]} in {v}{i}"}
        for i, w in enumerate(WORDS)
        for v in ("red", "blue", "wet", "dry")
    ]
    labelled = [
        {"text": f"{w} {number} {'sails' if number % 2 else 'wheels'}", "label": "boat" if number % 2 else "car"}
        for w in WORDS
        for number in range(4)
    ]
    graded = [
        {"text1": f"{w} one", "text2": f"{w} {'one' if i % 2 else 'two'} {i}", "score": i % 2 + i / 99}
        for i, w in enumerate(WORDS)
    ]
    sources: dict[str, list[dict[str, Any]]] = {
        "pairs": pairs,
        "labelled": labelled,
        "graded": graded,
        **{name: faq(name) for name in LANGUAGES},
    }
    for name, rows in sources.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def parameters(folder: Path) -> dict[str, Any]:
    def local(name: str) -> dict[str, str]:
        return {"kind": "local", "path": str(folder / name), "licence": "made by the test"}

    learning = {"classification": {"in_batch_negatives": True}, "clustering": {"in_batch_negatives": True}}
    raw = small_parameters(**{"train.steps": 3, "train.checkpoint_every": 2, "train.objectives": learning})
    raw["fetch"] = {
        "models": {name: {"origin": local(name)} for name in ("dense_teacher", "student")},
        "sources": {
            name: {"origin": local(f"{name}.jsonl"), "format": "jsonl"}
            for name in ("pairs", "labelled", "graded", *LANGUAGES)
        },
    }
    asked = {"kind": "retrieval", "instruction": "Find it.", "train": 40, "dev": 8, "test": 12}
    raw["prepare"] = {
        "tasks": {
            **{name: dict(asked) for name in LANGUAGES},
            "faq": {
                "source": "pairs",
                "kind": "retrieval",
                "instruction": "Find it.",
                "train": 32,
                "dev": 8,
                "test": 12,
            },
            "kinds": {
                "source": "labelled",
                "kind": "classification",
                "instruction": "Tell the kind.",
                "positives": "label",
                "train": 20,
                "dev": 8,
                "test": 12,
                "fit": 16,
            },
            "alike": {
                "source": "graded",
                "kind": "sts",
                "instruction": "Find similar texts.",
                "symmetric": True,
                "test": 16,
            },
        }
    }
    return raw


def make_checkout(place: Path, shared: Path) -> Path:
    """The project's code and pipeline under other parameters, with nothing run in it."""
    place.mkdir()
    for name in ("components", "flows"):
        (place / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copyfile(ROOT / name, place / name)
    (place / "params.yaml").write_text(yaml.safe_dump(parameters(shared), sort_keys=False), encoding="utf-8")
    return place


def start_dvc_repro(checkout: Path, warm_folder: Path) -> subprocess.Popen[str]:
    """The pipeline as a user runs it: git, DVC, a process a stage, which starts with its imports done."""
    env = {**os.environ, "PATH": f"{warm_folder}:{os.environ['PATH']}", "PYTHONPATH": str(checkout)}
    env.pop("MLFLOW_TRACKING_URI", None)
    git = ["git", "-C", str(checkout), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in ([*git, "init", "-q"], [*git, "add", "."], [*git, "commit", "-q", "-m", "start"]):
        subprocess.run(command, check=True, env=env)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True, env=env, cwd=checkout)
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=checkout,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run_stages(checkout: Path) -> None:
    """Every stage, one after the other in this process; what they would log stays on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(checkout)
        patch.setattr("components.tracking.upload.start_uploader", lambda root: None)
        patch.setattr("components.tracking.upload.wait_until_uploaded", lambda journal: True)
        update_list(checkout)
        for stage in STAGES:
            run_stage(stage, checkout)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, warm_folder: Path) -> tuple[Path, Path]:
    """Two fresh checkouts, run side by side to the end: by `dvc repro`, and all stages in one process."""
    shared = tmp_path_factory.mktemp("shared")
    write_sources(shared)
    make_tiny_student(shared / "student")
    letters = {letter for name in LANGUAGES for letter in LETTERS[name] + COURTESY[name]}
    make_dense_teacher(shared / "dense_teacher", more_letters="".join(sorted(letters)))
    one, two = (make_checkout(shared / name, shared) for name in ("one", "two"))
    shutil.copyfile(empty_store, one / "mlflow.db")
    by_dvc, in_one_process = start_dvc_repro(one, warm_folder), start_warm(run_stages, two)
    told, _ = by_dvc.communicate(timeout=900)
    assert by_dvc.returncode == 0, told[-3000:]
    in_one_process.join(900)
    assert in_one_process.exitcode == 0
    return one, two


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_two_runs_with_one_seed_give_the_same_bytes_in_every_stage(two_runs: tuple[Path, Path]) -> None:
    for stage in STAGES:
        one, two = (place / "outputs" / stage for place in two_runs)
        assert content_hash(one) == content_hash(two), stage


@pytest.mark.slow
def test_an_unchanged_pipeline_runs_nothing(two_runs: tuple[Path, Path]) -> None:
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=two_runs[0], capture_output=True, text=True, check=True
    )
    assert json.loads(status.stdout) == {"local_files": ["always changed"]}


@pytest.mark.slow
def test_every_stage_is_told_in_the_lock(two_runs: tuple[Path, Path]) -> None:
    lock = yaml.safe_load((two_runs[0] / "dvc.lock").read_text(encoding="utf-8"))
    assert set(lock["stages"]) == {"local_files", *STAGES}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_faq_without_spaces_goes_to_register_by_the_same_rules(two_runs: tuple[Path, Path], language: str) -> None:
    outputs = two_runs[0] / "outputs"
    account = json.loads((outputs / "prepare/manifest.json").read_text(encoding="utf-8"))["tasks"][language]
    assert account["removed_texts"] >= 1  # a copy of a held-out answer, but for the courtesy
    queries = pl.read_parquet(outputs / "prepare/queries.parquet").filter(pl.col("task") == language)
    candidates = pl.read_parquet(outputs / "retrieve/candidates.parquet").filter(pl.col("query").is_in(queries["row"]))
    assert candidates["bm25_rank"].drop_nulls().len() > 4 * len(queries)
    triplets = pl.read_parquet(outputs / "mine/triplets.parquet").filter(pl.col("query").is_in(queries["row"]))
    assert len(triplets) >= 38
    judged = pl.read_parquet(outputs / "mine/rejections.parquet").filter(pl.col("query").is_in(queries["row"]))
    assert triplets["negatives"].list.len().sum() + len(judged) > 4 * len(triplets)  # at random weights most go
    shots = yaml.safe_load((outputs / "select_shots/shots.yaml").read_text(encoding="utf-8"))[language]
    assert shots["dev_scores"]
    scores = pl.read_parquet(outputs / "evaluate/scores.parquet")
    assert language in scores["task"].to_list()
    exported = json.loads((outputs / "register/config_sentence_transformers.json").read_text(encoding="utf-8"))
    assert language in exported["prompts"]
