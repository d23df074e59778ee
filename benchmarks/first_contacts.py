"""What a newcomer may meet first, each in a fresh copy of this tree: the first line it prints, and seconds until then.

    python -m benchmarks.first_contacts [--old-python FILE] [--json FILE]

old_python   `make run` with Python 3.10, as Ubuntu 22.04 has it
zip          `make run` in the files without git, as a downloaded zip has them
interrupted  `make run` after one that was killed while it made .venv
proxy        `foundry pipeline local_files` with HTTP_PROXY set to a port where nothing listens and no NO_PROXY: it must
             reach its own Prefect server all the same, and end well

The first three must fail with one error line. Exit status 1 if something else happens. Nothing is installed.
--old-python: a Python 3.10; a script that says that it is 3.10.12 without it.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BARE = {"PATH": "/usr/bin:/bin"}  # no uv, no environment of ours
AWAY = "http://127.0.0.1:9"  # the discard port: nothing listens
Contact = tuple[float, str]  # seconds until the line, and the line


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old-python", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), given.old_python)
    for name, (seconds, line) in figures.items():
        print(f"{name:12} {seconds:5.1f} s  {line}")
    if given.json:
        found = {name: {"seconds": seconds, "line": line} for name, (seconds, line) in figures.items()}
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(scratch: Path, old_python: Path | None) -> dict[str, Contact]:
    """All four, one after the other."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.test_makefile import write_old_python

    old = old_python or write_old_python(scratch / "python3.10")
    return {
        "old_python": refused(copy_tree(scratch / "old_python"), f"PYTHON={old}"),
        "zip": refused(copy_tree(scratch / "zip", with_git=False), f"PYTHON={sys.executable}"),
        "interrupted": refused(interrupt(copy_tree(scratch / "interrupted")), f"PYTHON={sys.executable}"),
        "proxy": run_behind_proxy(copy_tree(scratch / "proxy")),
    }


def copy_tree(place: Path, with_git: bool = True) -> Path:
    """The tracked files of this checkout, in a new repository or in none."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, place / name)
    identity = ["-c", "user.name=newcomer", "-c", "user.email=newcomer@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "start"]) if with_git else ():
        subprocess.run(["git", *command], cwd=place, check=True)
    return place


def refused(place: Path, *arguments: str) -> Contact:
    """The one error line of `make run`. Exits when there is another outcome."""
    begin = time.monotonic()
    command = ["make", "run", *arguments]
    done = subprocess.run(command, cwd=place, env=BARE, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    if done.returncode == 0 or len(lines) != 1:
        sys.exit(f"error: {place.name}: exit status {done.returncode}, not one error line: {done.stdout}{done.stderr}")
    return seconds, lines[0]


def interrupt(place: Path) -> Path:
    """kill -9 of `make run` as soon as .venv has a Python, which is before it has pip."""
    command = ["make", "run", f"PYTHON={sys.executable}"]
    making = subprocess.Popen(command, cwd=place, env=BARE, start_new_session=True)
    while not (place / ".venv" / "bin" / "python").exists():
        if making.poll() is not None:
            sys.exit(f"error: interrupted: make run ended with exit status {making.returncode} before .venv was there")
        time.sleep(0.01)
    os.killpg(making.pid, signal.SIGKILL)
    making.wait()
    return place


def run_behind_proxy(place: Path) -> Contact:
    """The first line of the flow. Exits when the flow fails."""
    away = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), AWAY)
    hidden = {"NO_PROXY", "no_proxy", "PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"}
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    command = [sys.executable, "-m", "flows.cli", "pipeline", "local_files"]
    begin = time.monotonic()
    flow = subprocess.Popen(
        command,
        cwd=place,
        env={**kept, **away, "PYTHONPATH": str(place)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert flow.stdout is not None
    line = flow.stdout.readline().strip()
    seconds = time.monotonic() - begin
    rest = flow.stdout.read()
    if flow.wait():
        sys.exit(f"error: proxy: exit status {flow.returncode}: {line}\n{rest}")
    return seconds, f"{line} (ended well after {time.monotonic() - begin:.0f} s)"


if __name__ == "__main__":
    main()
