"""kill -9 at a pipeline run, again and again: the flow, dvc, the stage and the worker in turn, at random moments.

    python -m tests.flows.kills --kills 20 --seed 1

After every kill: no process of the run is left. At the end: the doctor, one more run, the outputs of an undisturbed
run byte for byte, no lock, no run RUNNING in MLflow or Prefect. A killed worker does not take its flow along: that one
goes on to its end.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from components.base.daemon import Server, free_port
from components.tracking.store import EXPERIMENT, connect, tracking_uri
from components.tracking.versions import dvc_md5
from flows import doctor

TARGETS = {"flow": "flows.cli pipeline", "dvc": "repro --single-item", "stage": "stage.py", "worker": "prefect worker"}
POOL = "kills"
STAGE_SECONDS = 2.0
REPOSITORY = Path(__file__).parents[2]


def ours(root: Path) -> list[psutil.Process]:
    """Living processes that stand in `root`, but for the one that uploads (it ends by itself)."""
    found = []
    for process in psutil.process_iter():
        try:
            uploading = "components.tracking.upload" in process.cmdline()
            if process.cwd() == str(root) and process.status() != psutil.STATUS_ZOMBIE and not uploading:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid()]


def start(root: Path, stage_seconds: float = STAGE_SECONDS) -> "subprocess.Popen[bytes]":
    """The pipeline as a user starts it."""
    environment = {**os.environ, "TOY_SLEEP": str(stage_seconds)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "pipeline"],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(root / ".cache" / "kills.log").open("ab"),
        start_new_session=True,
    )


def strike(root: Path, target: str, after: float) -> None:
    """Start the pipeline; once its first stage runs, wait `after` seconds and kill -9 the target.

    With dvc or a stage killed the flow lives and tries again by itself: it is left `after` seconds more, then killed
    as well. Raises AssertionError when anything is left behind.
    """
    run = start(root)
    victim = _find(root, TARGETS[target], run)
    time.sleep(after)
    for process in (victim, psutil.Process(run.pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        if target != "flow":
            time.sleep(after)
    run.wait()
    nothing_left(root)


def nothing_left(root: Path) -> None:
    """Raises AssertionError when a process of the run lives on."""
    deadline = time.monotonic() + 60
    while left := ours(root):
        assert time.monotonic() < deadline, f"left behind: {[' '.join(p.cmdline()) for p in left]}"
        time.sleep(0.2)


def deploy(root: Path) -> None:
    """The pipeline of `root` as a deployment that a worker of the pool runs."""
    from flows.pipeline import pipeline
    from flows.setup import make_pool

    make_pool(POOL)
    source: Any = pipeline.from_source(source=str(REPOSITORY), entrypoint="flows/pipeline.py:pipeline")
    source.deploy(name=POOL, work_pool_name=POOL, parameters={"root": str(root)}, print_next_steps=False)


@contextlib.contextmanager
def worker_running(root: Path) -> Iterator[tuple[Server, Any]]:
    """A worker that runs the deployment, and its flow run once a stage is going; the worker is killed at the end."""
    from prefect.deployments import run_deployment

    env = {"TOY_SLEEP": str(STAGE_SECONDS), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = ["prefect", "worker", "start", "--pool", POOL]
    worker = Server("worker", command, env, root / ".cache" / "kills.log")
    try:
        made: Any = run_deployment(f"pipeline/{POOL}", timeout=0)
        _find(root, "stage.py", worker.process)
        yield worker, made.id
    finally:
        worker.process.kill()
        worker.process.wait()


def strike_worker(root: Path, after: float) -> None:
    """kill -9 of the worker `after` seconds into a run; AssertionError when the flow does not end by itself."""
    with worker_running(root) as (_, run):
        time.sleep(after)
    final_state(run)
    nothing_left(root)


def final_state(run: Any) -> str:
    """The name of a flow run's last state; AssertionError when it reaches none in two minutes."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + 120
    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(run).state) or not state.is_final():
            assert time.monotonic() < deadline, f"the flow run is {state} for ever"
            time.sleep(0.5)
    return str(state.name)


def _find(root: Path, mark: str, run: "subprocess.Popen[bytes]") -> psutil.Process:
    """A process of the run once a stage is going."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and run.poll() is None:
        lines: dict[psutil.Process, str] = {}
        for process in ours(root):
            with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
                lines[process] = " ".join(process.cmdline())
        if any("python stage.py" in line for line in lines.values()):
            matching = [process for process, line in lines.items() if mark in line and "/bin/sh" not in line]
            if matching:
                return matching[0]
        time.sleep(0.1)
    raise AssertionError(
        f"no {mark} was seen, exit status {run.poll()}; {(root / '.cache/kills.log').read_text()[-2000:]}"
    )


def prove(root: Path, expected: dict[str, str]) -> None:
    """Repair, run to the end, and compare; raises AssertionError."""
    doctor.repair_all(root, look=False, say=print)
    assert start(root, stage_seconds=0).wait() == 0, (root / ".cache/kills.log").read_text()[-2000:]
    assert hashes(root) == expected
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    assert not rwlock.exists() or rwlock.read_text() in {"{}", '{"write": {}, "read": {}}'}
    client = connect(tracking_uri(root))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    assert not doctor._running_flow_runs()


def hashes(root: Path) -> dict[str, str]:
    """Stage -> md5 of its output folder."""
    return {folder.name: dvc_md5(folder) for folder in sorted((root / "outputs").iterdir())}


def campaign(root: Path, kills: int, seed: int) -> None:
    """`kills` kills of the toy in `root`, which has not run yet; an undisturbed copy tells what must come out.

    Needs a Prefect server (PREFECT_API_URL).
    """
    deploy(root)
    calm = root.with_name("calm")
    shutil.copytree(root, calm, symlinks=True)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=calm, check=True)
    moments = random.Random(seed)
    for kill in range(kills):
        target = list(TARGETS)[kill % len(TARGETS)]
        after = moments.uniform(0, STAGE_SECONDS)
        if target == "worker":
            strike_worker(root, after)
        else:
            strike(root, target, after)
        print(f"kill {kill + 1}: {target} after {after:.2f} s: nothing left", flush=True)
        (root / "input.txt").write_text(f"changed {kill}\n")
        if kill == kills - 1:
            (root / "input.txt").write_text((calm / "input.txt").read_text())
    prove(root, hashes(calm))


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[None]:
    """A Prefect server with an empty database, for the campaign."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.servers import HOST, prefect_server

    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    server = prefect_server(folder, port := free_port())
    os.environ["PREFECT_API_URL"] = address = f"http://{HOST}:{port}/api"
    try:
        server.wait_ready()
        with temporary_settings({PREFECT_API_URL: address}):
            yield
    finally:
        server.stop()


def main() -> None:
    """A campaign on a toy of its own."""
    from tests.flows.conftest import make_toy

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, own_server(Path(scratch)):
        campaign(make_toy(Path(scratch) / "repo"), given.kills, given.seed)
    print("outputs byte-identical, no orphan, no lock, no run RUNNING")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
