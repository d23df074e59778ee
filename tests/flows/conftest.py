"""A toy DVC pipeline (two branches that join), and one real Prefect server for every test that needs one."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.base.daemon import free_port
from tests.checkouts import make_repository
from tests.warm import warm_executable

REPOSITORY = Path(__file__).parents[2]
DVC_YAML = """\
stages:
  source: {cmd: python stage.py source, deps: [stage.py, input.txt], params: [seed], outs: [outputs/source]}
  left: {cmd: python stage.py left source, deps: [outputs/source], outs: [outputs/left]}
  right: {cmd: python stage.py right source, deps: [outputs/source], outs: [outputs/right]}
  join:
    cmd: python stage.py join left right
    meta: {gpu: true, publishes: true}
    deps: [outputs/left, outputs/right]
    outs: [outputs/join]
"""
STAGE = '''\
"""A stage: its inputs' text, once more, under its own name; TOY_SLEEP seconds long."""
import json, os, shutil, sys, time
from pathlib import Path
from components.config import Config
from components.base.process import die_with_dvc
from components.tracking.runs import stage_run

die_with_dvc()
name, needs = sys.argv[1], sys.argv[2:]
sources = [Path("outputs", need, "out.txt") for need in needs] or [Path("input.txt")]
if "boom" in (text := "+".join(source.read_text().strip() for source in sources)):
    sys.exit(f"error: {name}: input.txt: says boom; say something else")
if "flaky" in text and not Path(".cache/tried").exists():
    Path(".cache/tried").touch()
    sys.exit("ConnectionError: the hub is away")
out = Path("outputs", name)
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
with stage_run(name, Config.model_construct(seed=1), Path.cwd()) as log:
    for step in range(10):
        log({"progress": step / 10}, step)
        with (out / "out.txt").open("a") as handle:
            handle.write(f"{name}({text})" if step == 0 else ".")
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")) / 10)
    (out / "metrics.json").write_text(json.dumps({"length": len(text)}))
    log.finish({"length": len(text)}, out)
'''


def make_toy(root: Path) -> Path:
    """A git and DVC repository nothing has run in."""
    root.mkdir(parents=True)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "stage.py").write_text(STAGE)
    (root / "input.txt").write_text("hello\n")
    (root / ".gitignore").write_text("/outputs/\n/.cache/\n/mlflow.db*\n/mlartifacts/\n__pycache__/\n")
    shutil.copyfile(REPOSITORY / "params.yaml", root / "params.yaml")
    shutil.copytree(REPOSITORY / "recipes", root / "recipes")
    make_repository(root)
    (root / ".cache").mkdir()
    return root


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not write to it; see `toy`."""
    return make_toy(tmp_path_factory.mktemp("toy") / "repo")


@pytest.fixture
def toy(toy_template: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the toy for one test, with an MLflow store and a GPU slot of its own: others here do not hold it up."""
    from flows import gpu_slot

    root = tmp_path / "repo"
    shutil.copytree(toy_template, root, symlinks=True)
    shutil.copyfile(empty_store, root / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "FOUNDRY_PIPELINE_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(gpu_slot, "FOLDER", tmp_path)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def warm_commands(toy: Path, warm_start: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """dvc, stages and uploads of the toy are forked; not for a test that kills or ends one of them."""
    from flows import dag, pipeline, reproduce

    for module in (dag, pipeline, reproduce):
        monkeypatch.setattr(module, "DVC", (sys.executable, *dag.DVC[1:]))


def give_database(root: Path, empty_prefect: Path) -> None:
    """What a Prefect server of the checkout takes as its own."""
    home = root / ".cache" / "prefect"
    home.mkdir(exist_ok=True)
    shutil.copyfile(empty_prefect, home / "prefect.db")


@pytest.fixture(scope="session")
def prefect_server(empty_prefect: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server with a database of its own; every flow of this session talks to it."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.servers import prefect_server as start

    EventsWorker.drain_all()  # one a process, bound to the first server it meets: another test's Dask flow had its own

    home = tmp_path_factory.mktemp("prefect")
    shutil.copyfile(empty_prefect, home / "prefect.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")
        with warm_executable():
            server = start(tmp_path_factory.mktemp("server"), port := free_port())
        address = f"http://127.0.0.1:{port}/api"
        patch.setenv("PREFECT_API_URL", address)
        try:
            server.wait_ready()
            with temporary_settings({PREFECT_API_URL: address}):
                yield address
        finally:
            EventsWorker.drain_all()
            server.stop()
