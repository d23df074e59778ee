"""What the Prefect flow costs over bare `dvc repro`, on the whole pipeline of this checkout.

    python -m benchmarks.flow_overhead [--quick] [--repeat N] [--json FILE]

Both run in copies of the checkout (tracked files, shared downloads, no outputs): `dvc repro` as `make run` does it,
and `foundry pipeline` without a server, which it starts itself. They alternate, the first of a pair by turns;
wall time from the command to its end. Then both again with nothing changed, and how many MLflow runs that made.
--quick: a toy pipeline with two branches, stages of 5 s, once; there the flow may win, as it runs the branches side by
side.
"""

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOWNLOADS = ("wheels", "unpacked")  # of .cache: what the fetch stage gets from the network
COMMANDS = {
    "dvc": [sys.executable, "-m", "dvc", "repro"],
    "flow": [sys.executable, "-m", "flows.cli", "pipeline"],
}


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeat", type=int, default=1, help="pairs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {"dvc": [], "flow": [], "dvc again": [], "flow again": []}
    new_runs = dict.fromkeys(COMMANDS, 0)
    with tempfile.TemporaryDirectory() as scratch:
        for pair in range(given.repeat):
            order = list(COMMANDS) if pair % 2 == 0 else list(reversed(COMMANDS))
            for side in order:
                root = _checkout(Path(scratch) / f"{side}{pair}", given.quick)
                seconds[side].append(_timed(side, root, given.quick))
                before = _mlflow_runs(root)
                seconds[f"{side} again"].append(_timed(side, root, given.quick))
                new_runs[side] += _mlflow_runs(root) - before
                shutil.rmtree(root)
    _report(seconds, new_runs, given.quick, given.json)


def _checkout(root: Path, quick: bool) -> Path:
    """A fresh repository: the toy, or a clone of HEAD with the downloads of this one."""
    if quick:
        sys.path.insert(0, str(REPOSITORY))
        from tests.flows.conftest import make_toy

        return make_toy(root)
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(root)], check=True)
    if not (root / ".dvc").exists():
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    (root / ".cache").mkdir(exist_ok=True)
    for name in DOWNLOADS:
        if (REPOSITORY / ".cache" / name).exists():
            (root / ".cache" / name).symlink_to(REPOSITORY / ".cache" / name)
    return root


def _timed(side: str, root: Path, quick: bool) -> float:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if k not in {"PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_HOME"}}
    env |= {"PATH": path, "TOY_SLEEP": "5" if quick else "0", "DVC_NO_ANALYTICS": "1"}
    begin = time.perf_counter()
    subprocess.run(COMMANDS[side], cwd=root, env=env, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    return time.perf_counter() - begin


def _mlflow_runs(root: Path) -> int:
    """How many runs the copy's store holds, once what waits has gone up."""
    deadline = time.monotonic() + 120
    while any((root / ".cache" / "tracking").glob("[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.5)
    with sqlite3.connect(root / "mlflow.db") as store:
        return int(store.execute("SELECT count(*) FROM runs").fetchone()[0])


def _report(seconds: dict[str, list[float]], new_runs: dict[str, int], quick: bool, to: Path | None) -> None:
    middle = {side: statistics.median(values) for side, values in seconds.items()}
    ratio = middle["flow"] / middle["dvc"]
    what = "toy, four stages of 5 s" if quick else "params.yaml of HEAD, all stages"
    print(f"{what}; prefect {version('prefect')}, dvc {version('dvc')}, {os.cpu_count()} cores")
    for side, values in seconds.items():
        spread = f"{min(values):.1f} - {max(values):.1f}"
        print(f"{side:12} median {middle[side]:8.1f} s   ({spread}, {len(values)} runs)")
    print(
        f"flow / dvc   {ratio:.3f}   (wanted: at most 1.10); unchanged flow {middle['flow again']:.1f} s (at most 30)"
    )
    print(f"new MLflow runs of the unchanged flow: {new_runs['flow']} (wanted: 0)")
    figures = {
        "flow_overhead": ratio,
        "flow_s": middle["flow"],
        "dvc_s": middle["dvc"],
        "unchanged_flow_s": middle["flow again"],
        "unchanged_dvc_s": middle["dvc again"],
        "unchanged_flow_new_runs": new_runs["flow"],
        "quick": quick,
    }
    if to:
        to.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
