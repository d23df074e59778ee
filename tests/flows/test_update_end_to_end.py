"""Operations on a small checkout of own data: a first run, promoted; nothing new; an update; the monitor.

git, DVC, MLflow, Prefect and every stage are real, the models are tiny and random. Only the start of a stage's process
is not: tests/warm_foundry.py.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.serving import monitor as watching
from components.serving.sample import FOLDER, QuerySample
from components.tracking.registry import CANDIDATE, DEFAULT_NAME, find_version, registry_client
from components.training.pair_keys import read_trained_on
from flows import pipeline as pipeline_module
from flows import update as update_module
from flows.monitor import PAGE, monitor
from flows.promotion import promotion
from flows.record import stage_environment
from flows.update import update
from tests.models import make_tiny_student
from tests.samples import small_parameters
from tests.teacher.conftest import make_dense_teacher
from tests.test_end_to_end import make_checkout
from tests.warm_foundry import warm_foundry

SYLLABLES = [
    x + y for x in ("ba", "de", "fo", "gu", "hi", "ka", "le", "mo") for y in ("lum", "rek", "tos", "vin", "zet")
]
OLD, NEW = 100, 6


def rows(seed: int, number: int) -> list[dict[str, str]]:
    """Queries, and documents of the same words: even a random teacher ranks them better than chance."""
    draw = random.Random(seed)
    words = [draw.sample(SYLLABLES, 6) for _ in range(number)]
    return [{"query": " ".join(own[:5]), "document": f"{' '.join(own)} {len(own)}"} for own in words]


def write_rows(file: Path, pairs: list[dict[str, str]]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")


def parameters(shared: Path) -> dict[str, Any]:
    def local(path: object) -> dict[str, str]:
        return {"kind": "local", "path": str(path), "licence": "made by the test"}

    raw = small_parameters(**{"train.steps": 20, "train.warmup_steps": 5})
    raw["fetch"] = {
        "models": {name: {"origin": local(shared / name)} for name in ("dense_teacher", "student")},
        "sources": {"pairs": {"origin": local("my/pairs.jsonl"), "format": "jsonl"}},
    }
    task = {"source": "pairs", "kind": "retrieval", "instruction": "Find it.", "train": 60, "dev": 24, "test": 12}
    raw["prepare"] = {"tasks": {"faq": task}}
    return raw


@pytest.fixture
def place(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: str) -> Iterator[Path]:
    """The checkout, in which the pipeline has run once."""
    make_tiny_student(tmp_path / "student")
    make_dense_teacher(tmp_path / "dense_teacher")
    place = make_checkout(tmp_path / "repo", tmp_path)
    (place / "params.yaml").write_text(yaml.safe_dump(parameters(tmp_path), sort_keys=False), encoding="utf-8")
    write_rows(place / "my" / "pairs.jsonl", rows(1, OLD))
    with (place / ".gitignore").open("a") as ignored:
        ignored.write("\n/my/\n")
    shutil.copyfile(empty_store, place / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "FOUNDRY_PIPELINE_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (
        [*git, "init", "-q", "-b", "main"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [*git, "add", "-A"],
        [*git, "commit", "-qm", "start"],
    ):
        subprocess.run(command, cwd=place, check=True)
    monkeypatch.chdir(place)
    with warm_foundry(tmp_path / "bin") as bin:

        def warm(*about: Any) -> Mapping[str, str]:
            own = stage_environment(*about)
            return {**own, "PATH": f"{bin}{os.pathsep}{own['PATH']}"}

        monkeypatch.setattr(pipeline_module, "stage_environment", warm)
        monkeypatch.setattr(update_module, "stage_environment", warm)
        done = pipeline_module.pipeline(root=str(place))
        assert set(done.values()) == {"executed"}
        yield place


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_promoted_updated_and_watched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry_client(place)
    first = promotion(because="the first", force=True, root=str(place))
    assert update(root=str(place)) == {}, "nothing is new"
    assert find_version(client, DEFAULT_NAME, CANDIDATE).version == first["version"]

    write_rows(place / "my" / "pairs.jsonl", [*rows(1, OLD), *rows(2, NEW)])
    done = update(root=str(place))
    assert done["train"] == done["register"] == "executed"
    candidate = find_version(client, DEFAULT_NAME, CANDIDATE)
    assert candidate.version != first["version"]
    assert candidate.tags["gate.verdict"] in ("promote", "hold")
    check_light_training(place, client, candidate)

    second = promotion(because="updated", version=candidate.version, force=True, root=str(place))
    assert second["replaces"] == first["version"]
    check_monitor(place, monkeypatch)


def check_light_training(place: Path, client: Any, candidate: Any) -> None:
    """Few steps on new pairs and as many old ones, from production's adapter, merged with it."""
    run = client.get_run(candidate.run_id)
    [train] = [
        one
        for one in client.search_runs([run.info.experiment_id])
        if one.data.tags.get("dvc.stage") == "train"
        and one.data.tags.get("mlflow.parentRunId") == run.data.tags["mlflow.parentRunId"]
    ]
    assert train.data.params["train.merge.method"] == "slerp"
    assert train.data.params["train.init_adapter"] == "production_adapter"
    assert 0 < int(train.data.params["train.steps"]) < 10
    [folder] = (place / ".cache" / "updates").iterdir()
    assert len(read_trained_on(folder)) >= 60


def check_monitor(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries like those of training pass; others end it as Drifted."""
    monkeypatch.setattr(watching, "FEWEST", 20)
    shutil.rmtree(place / "outputs")  # of the first run: the monitor takes production's own
    sample = QuerySample(place / FOLDER, share=1.0)
    sample.note("faq", [row["query"] for row in rows(3, 24)])
    state: Any = monitor(root=str(place), novel=0.9, return_state=True)
    assert state.name == "Completed", state.message
    assert (place / PAGE).is_file()
    sample.note("faq", [f"{number} {'0123456789 ' * 4}" for number in range(60)])
    state = monitor(root=str(place), novel=0.1, return_state=True)
    assert state.name == "Drifted", state.message
