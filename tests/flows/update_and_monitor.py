"""The commands after a promotion, in one checkout of own data: nothing new, an update, its promotion, the monitor.

    python -m tests.flows.update_and_monitor

git, DVC, MLflow, a Prefect server and every stage are real, each command is a process as a user starts it; the models
are tiny and random. Minutes on one core, so it is not in the test suite. A line a command, with its seconds; exit
status 1 when one ends otherwise than it should.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from components.base.log import quiet_libraries
from components.serving.sample import FOLDER, QuerySample
from components.tracking.registry import CANDIDATE, DEFAULT_NAME, PRODUCTION, find_version, registry_client
from components.training.pair_keys import read_trained_on
from tests.checkouts import make_repository
from tests.flows.kills import own_server
from tests.models import make_tiny_student
from tests.samples import small_parameters
from tests.teacher.conftest import make_dense_teacher
from tests.test_end_to_end import make_checkout
from tests.tracking.stores import make_empty_store

SYLLABLES = [
    x + y for x in ("ba", "de", "fo", "gu", "hi", "ka", "le", "mo") for y in ("lum", "rek", "tos", "vin", "zet")
]
TRAIN, DEV, TEST, NEW, SERVED = 60, 60, 12, 6, 60  # the monitor leaves out tasks with fewer than 50 queries
STEPS = 20


def main() -> None:
    """All commands, one after the other."""
    quiet_libraries(progress_bars=False)
    with tempfile.TemporaryDirectory() as scratch, own_server(Path(scratch)):
        place = make_place(Path(scratch))
        foundry(place, "pipeline")
        foundry(place, "promote", "--force", "--because", "the first")
        first = version_of(place, PRODUCTION)
        require("nothing is new" in foundry(place, "update"), "an update without new data trained")
        require(version_of(place, CANDIDATE) == first, "an update without new data registered a version")
        write_rows(place, [*rows(1, TRAIN + DEV + TEST), *rows(2, NEW)])
        foundry(place, "update")
        candidate = version_of(place, CANDIDATE)
        require(candidate != first, "an update with new data registered no version")
        check_training(place, candidate)
        foundry(place, "promote", candidate, "--force", "--because", "updated")
        require(version_of(place, PRODUCTION) == candidate, "production did not move")
        watch(place)
    print("as it should be")


def watch(place: Path) -> None:
    """Queries like those of training pass; others are an alert."""
    shutil.rmtree(place / "outputs")  # of the first run: the monitor takes production's own
    sample = QuerySample(place / FOLDER, share=1.0)
    sample.note("faq", [row["query"] for row in rows(3, SERVED)])
    foundry(place, "monitor", "--novel", "0.9")
    sample.note("faq", [f"<b>{number}</b> PLEASE, ann@example.com; (thanks!)" for number in range(2 * SERVED)])
    said = foundry(place, "monitor", "--novel", "0.1", status=1)
    require("alert:" in said, f"the monitor failed without an alert: {said[-500:]}")


def check_training(place: Path, version: str) -> None:
    """Few steps on new pairs and as many old ones, from production's adapter, merged with it."""
    client = registry_client(place)
    run = client.get_run(find_version(client, DEFAULT_NAME, version).run_id)
    same = f"tags.`dvc.stage` = 'train' and tags.`mlflow.parentRunId` = '{run.data.tags['mlflow.parentRunId']}'"
    [train] = client.search_runs([run.info.experiment_id], same)
    params = train.data.params
    require(params["train.merge.method"] == "slerp", "the adapters were not merged by slerp")
    require(params["train.init_adapter"] == "production_adapter", "it did not go on from production's adapter")
    require(0 < int(params["train.steps"]) < STEPS / 2, f"{params['train.steps']} steps")
    [folder] = (place / ".cache" / "updates").iterdir()
    require(len(read_trained_on(folder)) >= TRAIN, "the list of known pairs is too short")


def foundry(place: Path, *arguments: str, status: int = 0) -> str:
    """A command; returns what it printed. Exits unless it ends with this status."""
    begin = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=place,
        env={**environment, "PYTHONPATH": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"foundry {' '.join(arguments):50} {time.monotonic() - begin:4.0f} s", flush=True)
    require(done.returncode == status, f"exit status {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"error: {otherwise}")


def version_of(place: Path, alias: str) -> str:
    return str(find_version(registry_client(place), DEFAULT_NAME, alias).version)


def rows(seed: int, number: int) -> list[dict[str, str]]:
    """Queries, and documents of the same words: even a random teacher ranks them better than chance."""
    draw = random.Random(seed)
    words = [draw.sample(SYLLABLES, 6) for _ in range(number)]
    return [{"query": " ".join(own[:5]), "document": f"{' '.join(own)} {len(own)}"} for own in words]


def write_rows(place: Path, pairs: list[dict[str, str]]) -> None:
    (place / "my").mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in pairs)
    (place / "my" / "pairs.jsonl").write_text(text, encoding="utf-8")


def parameters(shared: Path) -> dict[str, Any]:
    def local(path: object) -> dict[str, str]:
        return {"kind": "local", "path": str(path), "licence": "made here"}

    raw = small_parameters(**{"train.steps": STEPS, "train.warmup_steps": 5})
    raw["fetch"] = {
        "models": {name: {"origin": local(shared / name)} for name in ("dense_teacher", "student")},
        "sources": {"pairs": {"origin": local("my/pairs.jsonl"), "format": "jsonl"}},
    }
    sizes = {"train": TRAIN, "dev": DEV, "test": TEST}
    task = {"source": "pairs", "kind": "retrieval", "instruction": "Find it.", **sizes}
    raw["prepare"] = {"tasks": {"faq": task}}
    return raw


def make_place(folder: Path) -> Path:
    """A repository with the project's code on tiny models and own data, in which nothing has run."""
    make_tiny_student(folder / "student")
    make_dense_teacher(folder / "dense_teacher")
    place = make_checkout(folder / "repo", folder)
    (place / "params.yaml").write_text(yaml.safe_dump(parameters(folder), sort_keys=False), encoding="utf-8")
    write_rows(place, rows(1, TRAIN + DEV + TEST))
    with (place / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("\n/my/\n")
    make_empty_store(place / "mlflow.db")
    make_repository(place)
    return place


if __name__ == "__main__":
    main()
