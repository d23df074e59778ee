"""kill -9 at random moments of whole pipeline runs: is the next run of the same command all that is needed?

    python -m benchmarks.kills [--quick] [--kills 40] [--seed 0] [--folder FOLDER] [--json FILE]

All stages of the pipeline on tiny random models and tiny own data (minutes on one core). A chain is a fresh checkout:
the command is started and killed after a random time, started again and killed again, until a run ends; that run's
outputs must be those of an undisturbed run byte for byte. Chains are by turns `foundry pipeline` and plain `dvc repro`,
half of the kills each. A kill comes at a time uniform in [0, an undisturbed run of that command] after the start or the
kill before. What is killed is drawn too: the command (half of the time), all processes of the run at once (as
when a container ends), or any one of them; after that the run may go on, end by itself, or be killed again.

After each kill of the command: processes that live on (orphans) are counted after 120 s; the process that uploads to
MLflow may stay until the chain ends. At the end of a chain: no process at all, no MLflow run RUNNING, no run that
waits to be uploaded. A run that fails without a kill is counted: it needed something. No doctor is called.

--quick: the toy pipeline of the tests (four stages of two seconds, two of them side by side), with one Prefect server
for all flows; otherwise each flow starts its own, as a user's does.
--folder keeps the state; the same command with the same folder goes on after the last finished chain.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from components.tracking.versions import dvc_md5

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = {
    "flow": [sys.executable, "-m", "flows.cli", "pipeline"],
    "dvc": [sys.executable, "-m", "dvc", "repro"],
}
VICTIMS = ("command", "command", "all", "one")  # a draw for each kill
STAGE = re.compile(r"^\S*python\S* (?:\S*foundry stage|-m flows.cli stage|stage.py) (\w+)")
MARK = "FOUNDRY_KILLS_CHAIN"  # in the environment of every process of a chain
PATIENCE_SECONDS = 120.0  # for a busy machine; what ends, ends in seconds


@dataclass
class Kill:
    """One kill: seconds since the last one (or the start of the run), what was killed, and what lived on after it."""

    after: float
    victim: str
    stages: list[str]  # at work when it came
    orphans: list[str] = field(default_factory=list)


@dataclass
class Chain:
    """Kills of one checkout, and how it ended. `failed`: runs that failed with no kill, by their last line."""

    command: str
    kills: list[Kill] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)  # stages whose bytes differ from the undisturbed run's
    orphans: list[str] = field(default_factory=list)
    running: int = 0  # MLflow runs
    waiting: int = 0  # journals not uploaded
    seconds: float = 0.0

    def is_clean(self) -> bool:
        """Whether the next run of the same command was all that was needed."""
        left = [*self.failed, *self.different, *self.orphans, *(one for kill in self.kills for one in kill.orphans)]
        return not left and not self.running and not self.waiting


def make_template(place: Path, shared: Path, quick: bool) -> None:
    """A repository in which nothing has run: the project's pipeline on the tiny data in `shared`, or the toy."""
    sys.path.insert(0, str(REPOSITORY))
    from tests import test_end_to_end
    from tests.checkouts import make_repository
    from tests.flows.conftest import make_toy

    if quick:
        make_toy(place)
    else:
        test_end_to_end.make_checkout(place, shared)
        make_repository(place)
    (place / ".cache" / "prefect").mkdir(parents=True)
    shutil.copyfile(shared / "prefect.db", place / ".cache" / "prefect" / "prefect.db")
    shutil.copyfile(shared / "mlflow.db", place / "mlflow.db")


def make_shared(folder: Path, quick: bool) -> None:
    """Tiny data and models, and empty databases (their tables take half a minute to make)."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.databases import make_empty_prefect
    from tests.models import make_tiny_student
    from tests.teacher.conftest import make_dense_teacher
    from tests.test_end_to_end import write_sources
    from tests.tracking.stores import make_empty_store

    folder.mkdir(parents=True)
    if not quick:
        write_sources(folder)
        make_tiny_student(folder / "student")
        make_dense_teacher(folder / "dense_teacher")
    make_empty_store(folder / "mlflow.db")
    make_empty_prefect(folder / "prefect.db")


def start(root: Path, command: str) -> "subprocess.Popen[bytes]":
    """The pipeline as a user starts it, its output in `<root>.log`."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root if (root / "components").exists() else REPOSITORY),
        "TOY_SLEEP": "2",
        "PREFECT_HOME": str(root / ".cache" / "prefect"),
        "OMP_NUM_THREADS": "1",
        MARK: str(root),
    }
    with root.with_suffix(".log").open("ab") as log:
        log.write(f"---- {command}\n".encode())
        log.flush()
        return subprocess.Popen(
            COMMANDS[command], cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def processes(root: Path) -> list[psutil.Process]:
    """Living processes of the chain in `root`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def titles(found: list[psutil.Process]) -> list[str]:
    """Their command lines, shortened."""
    lines = []
    for process in found:
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline())[:160])
    return lines


def strike(root: Path, run: "subprocess.Popen[bytes]", victim: str, moments: random.Random) -> tuple[str, list[str]]:
    """kill -9; returns what was killed, and the stages at work."""
    found = processes(root)
    stages = sorted({match[1] for line in titles(found) if (match := STAGE.search(line))})
    one = [moments.choice(found)] if found else []
    targets = {"command": [psutil.Process(run.pid)], "all": found, "one": one}[victim]
    named = ", ".join(titles(targets)) if victim == "one" else victim
    for process in targets:
        with suppress(psutil.Error):
            process.kill()
    return named, stages


def end_all(root: Path) -> None:
    """kill -9 of what is left of a chain, also when this program is stopped."""
    for process in processes(root):
        with suppress(psutil.Error):
            process.kill()


def left_behind(root: Path, uploader_too: bool) -> list[str]:
    """Command lines of processes that still live after two minutes; the uploader has ten."""
    deadline = time.monotonic() + PATIENCE_SECONDS * (5 if uploader_too else 1)
    while True:
        lines = titles(processes(root))
        lines = [line for line in lines if uploader_too or "components.tracking.upload" not in line]
        if not lines or time.monotonic() > deadline:
            return lines
        time.sleep(0.3)


def run_chain(root: Path, chain: Chain, kills: int, moments: random.Random, longest: float) -> None:
    """Start, kill, start again, until a run ends without a kill since its start; at most `kills` kills."""
    begin = time.monotonic()
    while True:
        run, killed = start(root, chain.command), False
        while run.poll() is None and len(chain.kills) < kills:
            after = moments.uniform(0, longest)
            victim = moments.choice(VICTIMS)
            with suppress(subprocess.TimeoutExpired):
                run.wait(after)
                break
            named, stages = strike(root, run, victim, moments)
            kill, killed = Kill(round(after, 2), named, stages), True
            chain.kills.append(kill)
            if victim != "one":
                run.wait()
                kill.orphans = left_behind(root, uploader_too=False)
            left = kill.orphans or "nothing left"
            print(f"{root.name} {chain.command}: after {after:.1f} s {named}, in {stages}: {left}", flush=True)
        if run.wait() == 0:
            break
        if not killed:
            last = root.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1]
            chain.failed.append(last)
            if len(chain.failed) > 2:
                break
    chain.seconds = round(time.monotonic() - begin, 1)


def examine(root: Path, chain: Chain, expected: dict[str, str]) -> None:
    """What is left of a chain that has ended."""
    found = hashes(root)
    chain.different = [stage for stage in expected if found.get(stage) != expected[stage]]
    chain.orphans = left_behind(root, uploader_too=True)
    chain.waiting = len(list((root / ".cache" / "tracking").glob("[0-9]*")))
    with sqlite3.connect(root / "mlflow.db") as store:
        chain.running = int(store.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0])


def hashes(root: Path) -> dict[str, str]:
    """Stage -> md5 of its output folder."""
    return {folder.name: dvc_md5(folder) for folder in sorted((root / "outputs").iterdir())}


def undisturbed(folder: Path, quick: bool) -> dict[str, Any]:
    """Hashes, and seconds by command, of a run without a kill; made once a folder."""
    file = folder / "undisturbed.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return known
    for name in ("shared", "template", *COMMANDS):
        shutil.rmtree(folder / name, ignore_errors=True)
    make_shared(folder / "shared", quick)
    make_template(folder / "template", folder / "shared", quick)
    seconds, md5 = {}, {}
    for command in COMMANDS:
        root, begin = shutil.copytree(folder / "template", folder / command, symlinks=True), time.monotonic()
        try:
            status = start(root, command).wait()
        except BaseException:
            end_all(root)
            raise
        if status:
            sys.exit(f"error: the undisturbed run failed; see {root.with_suffix('.log')}")
        seconds[command], md5[command] = time.monotonic() - begin, hashes(root)
        left_behind(root, uploader_too=True)
    if md5["flow"] != md5["dvc"]:
        sys.exit(f"error: the two commands' outputs differ without any kill: {md5}")
    found = {"seconds": seconds, "md5": md5["dvc"]}
    file.write_text(json.dumps(found), encoding="utf-8")
    return found


def campaign(folder: Path, kills: int, seed: int, quick: bool) -> list[Chain]:
    """`kills` kills, half of them of each command; finished chains of `folder` are kept."""
    calm, file = undisturbed(folder, quick), folder / f"chains-{seed}.jsonl"
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in calm["seconds"].items())
    print(f"undisturbed: {times}, {len(calm['md5'])} stages", flush=True)
    chains = [_read(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    while (done := sum(len(chain.kills) for chain in chains)) < kills:
        counts = {name: sum(len(c.kills) for c in chains if c.command == name) for name in COMMANDS}
        name = min(counts, key=lambda command: counts[command])
        chain, root = Chain(name), folder / f"chain-{seed}-{len(chains)}"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder / "template", root, symlinks=True)
        budget = min(kills - done, max(1, kills // 2 - counts[name]))
        try:
            run_chain(root, chain, budget, random.Random(f"{seed}/{len(chains)}"), calm["seconds"][name])
            examine(root, chain, calm["md5"])
        finally:
            end_all(root)
        chains.append(chain)
        with file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(chain)) + "\n")
        outcome = "clean" if chain.is_clean() else asdict(chain)
        print(f"{root.name} {name}: {len(chain.kills)} kills, {outcome}", flush=True)
        if chain.is_clean():
            shutil.rmtree(root)
    return chains


def _read(line: str) -> Chain:
    raw = json.loads(line)
    return Chain(**{**raw, "kills": [Kill(**kill) for kill in raw["kills"]]})


def report(chains: list[Chain]) -> dict[str, int]:
    """Counts over all chains, printed."""
    figures = {"kills": sum(len(chain.kills) for chain in chains), "chains": len(chains)}
    for name in COMMANDS:
        figures[f"{name}_kills"] = sum(len(chain.kills) for chain in chains if chain.command == name)
    figures |= {
        "chains_with_other_bytes": sum(bool(chain.different) for chain in chains),
        "orphans": sum(len(chain.orphans) + sum(len(kill.orphans) for kill in chain.kills) for chain in chains),
        "mlflow_runs_running": sum(chain.running for chain in chains),
        "runs_not_uploaded": sum(chain.waiting for chain in chains),
        "reruns_that_failed": sum(len(chain.failed) for chain in chains),
    }
    for key, value in figures.items():
        print(f"{key:26} {value}")
    return figures


def main() -> None:
    """Run the campaign, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps the state; a temporary folder without it")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as servers:
        folder = (given.folder or Path(scratch)).resolve()
        folder.mkdir(exist_ok=True)
        os.environ.pop("PREFECT_API_URL", None)
        if given.quick:
            sys.path.insert(0, str(REPOSITORY))
            from tests.flows.kills import own_server

            servers.enter_context(own_server(folder))
        chains = campaign(folder, given.kills, given.seed, given.quick)
    figures = report(chains)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
