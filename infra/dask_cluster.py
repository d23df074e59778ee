"""Start a Dask cluster on this machine: `python -m infra.dask_cluster [--workers 2] [--port 8786]`.

Each worker is a process with one thread, on the loopback address, and has a GPU of its own where there are some. SIGINT
(Ctrl-C) or SIGTERM stops it. A stage uses it with `engine: {kind: dask, address: tcp://127.0.0.1:8786}`.
"""

import argparse
import os
import signal
import sys
from typing import Any

from components.model.device import card_environment


def start_cluster(workers: int, port: int = 0) -> Any:
    """Start a `distributed.SpecCluster`; close() stops its processes. Port 0 takes a free one.

    Where there are GPUs, each worker sees one of them, in turn.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    common = {"host": "127.0.0.1", "dashboard": False}
    options = {**common, "nthreads": 1, "memory_limit": 0}
    each = {
        number: {"cls": Nanny, "options": {**options, "env": card_environment(number)}} for number in range(workers)
    }
    return SpecCluster(workers=each, scheduler={"cls": Scheduler, "options": {**common, "port": port}})


def main(arguments: list[str]) -> int:
    """Start a cluster, print its address and wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m infra.dask_cluster", description="A local Dask cluster.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--port", type=int, default=8786, help="of the scheduler; 0 takes a free one")
    chosen = parser.parse_args(arguments)
    stopped = _stop_signal()
    with start_cluster(chosen.workers, chosen.port) as cluster:
        print(cluster.scheduler_address, flush=True)
        os.read(stopped, 1)
    return 0


def _stop_signal() -> int:
    """A file descriptor that has a byte to read after SIGINT or SIGTERM.

    Blocking the signals for sigwait is not enough: multiprocessing unblocks them in the thread that starts a process,
    and a signal that arrives before sigwait would then end the program.
    """
    stopped, write = os.pipe()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.write(write, b"."))
    return stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
