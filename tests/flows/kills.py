"""kill -9 at a pipeline run, again and again: the flow, dvc and the stage in turn, at random moments.

    python -m tests.flows.kills --kills 20 --seed 1        needs PREFECT_API_URL, or starts a server itself

After every kill: no process of the run is left. At the end: the doctor, one more run, the outputs of an undisturbed
run byte for byte, no lock, no run RUNNING.
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
from pathlib import Path

import psutil

from components.tracking.store import EXPERIMENT, connect, tracking_uri
from components.tracking.versions import dvc_md5
from flows import doctor

TARGETS = {"flow": "flows.pipeline", "dvc": "repro --single-item", "stage": "stage.py"}
STAGE_SECONDS = 2.0


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


def start(root: Path) -> "subprocess.Popen[bytes]":
    """The pipeline as a user starts it."""
    environment = {**os.environ, "TOY_SLEEP": str(STAGE_SECONDS)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline"],
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
    deadline = time.monotonic() + 60
    while left := ours(root):
        assert time.monotonic() < deadline, f"left behind: {[' '.join(p.cmdline()) for p in left]}"
        time.sleep(0.2)


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
    assert start(root).wait() == 0, (root / ".cache/kills.log").read_text()[-2000:]
    assert hashes(root) == expected
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    assert not rwlock.exists() or rwlock.read_text() in {"{}", '{"write": {}, "read": {}}'}
    client = connect(tracking_uri(root))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")


def hashes(root: Path) -> dict[str, str]:
    """Stage -> md5 of its output folder."""
    return {folder.name: dvc_md5(folder) for folder in sorted((root / "outputs").iterdir())}


def campaign(root: Path, kills: int, seed: int) -> None:
    """`kills` kills of the toy in `root`, which has not run yet; an undisturbed copy tells what must come out."""
    calm = root.with_name("calm")
    shutil.copytree(root, calm, symlinks=True)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=calm, check=True)
    moments = random.Random(seed)
    for kill in range(kills):
        target = list(TARGETS)[kill % len(TARGETS)]
        after = moments.uniform(0, STAGE_SECONDS)
        strike(root, target, after)
        print(f"kill {kill + 1}: {target} after {after:.2f} s: nothing left", flush=True)
        (root / "input.txt").write_text(f"changed {kill}\n")
        if kill == kills - 1:
            (root / "input.txt").write_text((calm / "input.txt").read_text())
    prove(root, hashes(calm))


def main() -> None:
    """A campaign on a toy of its own."""
    from tests.flows.conftest import make_toy

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        campaign(make_toy(Path(scratch) / "repo"), given.kills, given.seed)
    print("outputs byte-identical, no orphan, no lock, no run RUNNING")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
