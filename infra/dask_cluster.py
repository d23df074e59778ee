"""Start a Dask cluster on this machine: `python -m infra.dask_cluster [--workers 2] [--port 8786]`.

Each worker is a process with one thread, on the loopback address. SIGINT (Ctrl-C) or SIGTERM stops it. A stage uses
it with `engine: {kind: dask, address: tcp://127.0.0.1:8786}`.
"""

import argparse
import os
import signal
import sys
from typing import Any


def start_cluster(workers: int, port: int = 0) -> Any:
    """Start a `distributed.LocalCluster`; close() stops its processes. Port 0 takes a free one."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        scheduler_port=port,
        dashboard_address=None,
        memory_limit=0,
    )


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
