"""One stage as several processes of this machine, one a GPU: torchrun by one parameter (`train.processes`).

Other machines take part by `train.nodes` (nodes.py).

The stage's own process stays the only one that opens the MLflow run and moves outputs into place. It starts torchrun,
passes on what the first process logs, and waits. When a process dies, the others end with it and all start again, up
to `train.restarts` times, from the last checkpoint. So `dvc repro`, a Prefect worker and a Kubernetes job with several
GPUs run the same command. The price: one idle process, and metrics that arrive up to 0.2 s late.

Every start is a torchrun of its own, with a new store. Under `--max-restarts` the first start's store is kept, and both
new processes sometimes hung for good in `init_process_group` (torch 2.13, gloo, one of two processes killed).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.base import watchdog
from components.base.errors import UserError
from components.base.machine import keep_freed_memory, limit_threads
from components.base.process import die_with_dvc, die_with_parent
from components.base.threads import worker_count
from components.config import load_config
from components.stage.context import StageContext
from components.stage.nodes import Rendezvous, Start, command, start_file, torchrun_options, write_start
from components.stage.stages import stage_function

POLL_SECONDS = 0.2
_ALONE = Rendezvous(nodes=1, endpoint="")
METRICS, LOG, REFUSED = "metrics.json", "log.jsonl", "refused.txt"  # what the processes leave in the exchange folder
HUNG, LOST = "hung-*.txt", "lost-*.txt"  # a process's stack when its watchdog ended it; why it lost the others


def launch(
    name: str, context: StageContext, processes: int, restarts: int, rendezvous: Rendezvous | None = None
) -> dict[str, float]:
    """Run a stage as `processes` processes; returns the first one's metrics.

    Args:
        restarts: how often all of them are started again when one dies.
        rendezvous: where other machines join, each with as many processes (components/stage/nodes.py).

    Raises:
        UserError: a process refused its input (nothing is started again then), or died more than `restarts` times.
    """
    exchange = context.work / "exchange"
    shutil.rmtree(exchange, ignore_errors=True)
    exchange.mkdir()
    root = context.outputs.parent
    shared = start_file(root, name)
    try:
        for number in range(restarts + 1):
            if number:
                print(
                    f"{name}: {_ended(exchange)}; start {number + 1}, from the last checkpoint",
                    file=sys.stderr,
                    flush=True,
                )
            start = Start.new(rendezvous or _ALONE, processes, name, root, context.out, context.work)
            if rendezvous is not None:
                write_start(shared, start)
            if _run_all(start, context, exchange) == 0:
                metrics: dict[str, float] = json.loads((exchange / METRICS).read_text(encoding="utf-8"))
                return metrics
    finally:
        shared.unlink(missing_ok=True)  # the other machines' sign that the stage has ended
    raise UserError(
        f"failed {restarts + 1} times (train.restarts: {restarts}), the last time: {_ended(exchange)}; "
        "see its output above; run it again to continue from the last checkpoint"
    )


def _ended(exchange: Path) -> str:
    """How the processes ended: one made no progress (and where), lost the others (and why), or died."""
    for file in sorted(exchange.glob(HUNG)):
        if line := watchdog.last_line(file):
            return f"process {file.stem.partition('-')[2]} made no progress within train.hang_seconds, at {line}"
    for file in sorted(exchange.glob(LOST)):
        cause = file.read_text(encoding="utf-8")
        return (
            f"process {file.stem.partition('-')[2]} could not reach the others ({cause}); look at nvidia-smi topo -m, "
            "the firewall between machines, and what NCCL_DEBUG=INFO prints"
        )
    return "a process died"


def _run_all(start: Start, context: StageContext, exchange: Path) -> int:
    """One torchrun; returns its exit status."""
    options = torchrun_options(start, first=True) if start.nodes > 1 else ["--standalone"]
    log = exchange / LOG
    log.write_bytes(b"")
    for old in (*exchange.glob(HUNG), *exchange.glob(LOST)):
        old.unlink()
    passed_on = 0
    running = subprocess.Popen(command(start, options), cwd=context.outputs.parent, preexec_fn=die_with_parent)
    try:
        while running.poll() is None:
            passed_on = _pass_on(log, passed_on, context.log)
            _refuse(exchange)
            time.sleep(POLL_SECONDS)
    finally:
        running.kill()  # its processes end with it: see `main`
        running.wait()
    _refuse(exchange)
    _pass_on(log, passed_on, context.log)
    return running.returncode


def _pass_on(file: Path, start: int, log: Callable[[dict[str, float], int | None], None]) -> int:
    """Log the whole lines after byte `start`; returns where the next call begins."""
    with file.open("rb") as handle:
        handle.seek(start)
        data = handle.read()
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.splitlines():
        values, step = json.loads(line)
        log(values, step)
    return start + len(whole)


def _refuse(exchange: Path) -> None:
    said = exchange / REFUSED
    if said.exists():
        raise UserError(said.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- in each process


def main(arguments: list[str]) -> int:
    """Entry point of each torchrun process: `STAGE OUT WORK`; returns the exit status."""
    name, out, work = arguments[0], Path(arguments[1]), Path(arguments[2])
    die_with_dvc()
    exchange, rank = work / "exchange", int(os.environ["RANK"])
    try:
        metrics = _run(name, out, work, rank)
    except UserError as problem:
        draft = exchange / f"refused-{rank}"
        draft.write_text(str(problem), encoding="utf-8")
        draft.replace(exchange / REFUSED)
        return 1
    except RuntimeError as problem:
        if type(problem).__module__ != "torch.distributed":
            raise
        cause = str(problem).strip().splitlines()[0]
        (exchange / LOST.replace("*", str(rank))).write_text(cause, encoding="utf-8")
        return 1
    if rank == 0:
        (exchange / METRICS).write_text(json.dumps(metrics), encoding="utf-8")
    return 0


def _run(name: str, out: Path, work: Path, rank: int) -> dict[str, float]:
    root = Path.cwd()
    config, processes = load_config(root / "params.yaml"), int(os.environ["LOCAL_WORLD_SIZE"])
    limit_threads(max(1, worker_count(config.threads) // processes))
    keep_freed_memory()
    with (work / "exchange" / LOG).open("a", encoding="utf-8") as lines:
        log = _Log(lines) if rank == 0 else _silent
        context = StageContext(config, root / "outputs", out, work, root / ".cache", log)
        run = stage_function(name)
        _take_gpu(processes)
        watchdog.arm(config.train.hang_seconds, work / "exchange" / HUNG.replace("*", str(rank)))
        try:
            return run(context)
        finally:
            watchdog.disarm()
            _leave_world()


class _Log:
    """A line per call, for `_pass_on`."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._lines.write(json.dumps([{key: float(value) for key, value in metrics.items()}, step]) + "\n")
        self._lines.flush()


def _silent(metrics: dict[str, float], step: int | None = None) -> None:
    """Only the first process logs."""


def _take_gpu(processes: int) -> None:
    """This process's own card, before anything is put on one."""
    import torch

    if not torch.cuda.is_available():
        return
    if torch.cuda.device_count() < processes:
        raise UserError(
            f"params.yaml: train.processes: {processes}, but this machine shows {torch.cuda.device_count()} GPUs"
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def _leave_world() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
