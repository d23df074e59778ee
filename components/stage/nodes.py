"""One stage on several machines: each runs a torchrun of its own, and they meet by torchrun's c10d rendezvous.

The first machine runs the stage as always (`dvc repro`, a flow). The others run `foundry join STAGE` in the same
checkout on a shared disk. The first writes what to start into a file there, with a new id for every start; the others
wait for that file, start their processes, and do so again when the id changes. When the stage ends, the file is deleted
and they end too. Whichever machine gets rank 0, what it writes is on the shared disk.

The rendezvous has no password: use it in a private network only.
"""

import ipaddress
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from components.base.errors import UserError
from components.base.files import whole_file
from components.base.process import die_with_parent

log = logging.getLogger(__name__)
PORT = 29400  # torchrun's own default
POLL_SECONDS = 0.5
_MEETING_SECONDS = 900  # how long a torchrun waits for the others


@dataclass(frozen=True)
class Rendezvous:
    """How many machines meet, and where: the first one's address as the others reach it."""

    nodes: int
    endpoint: str

    @property
    def host(self) -> str:
        return self.endpoint.rpartition(":")[0]


@dataclass(frozen=True)
class Start:
    """One start of a stage on all machines, as the first tells the others."""

    id: str
    nodes: int
    endpoint: str
    processes: int
    stage: str
    out: str
    work: str

    @classmethod
    def new(cls, rendezvous: Rendezvous, processes: int, stage: str, root: Path, out: Path, work: Path) -> "Start":
        """Folders are named from `root`: a machine may have mounted the shared disk elsewhere."""
        folders = (os.path.relpath(folder, root) for folder in (out, work))
        return cls(secrets.token_hex(8), rendezvous.nodes, rendezvous.endpoint, processes, stage, *folders)


def find_rendezvous(nodes: int, endpoint: str | None) -> Rendezvous | None:
    """The rendezvous of `train.nodes` and `train.rendezvous`; None for one machine.

    Raises:
        UserError: no endpoint given, and this machine's host name is its loopback address.
    """
    if nodes == 1:
        return None
    if endpoint is not None:
        return Rendezvous(nodes, endpoint)
    try:
        own = socket.gethostbyname(socket.gethostname())
    except OSError:
        own = "127.0.0.1"
    if ipaddress.ip_address(own).is_loopback:
        raise UserError(
            f"params.yaml: train.rendezvous: train.nodes is {nodes}, and this machine's name {socket.gethostname()!r} "
            f"is no address that others reach; set train.rendezvous to this machine's ADDRESS:{PORT}"
        )
    return Rendezvous(nodes, f"{own}:{PORT}")


def torchrun_options(start: Start, first: bool) -> list[str]:
    """torchrun's options for one machine of a start."""
    host, _, port = start.endpoint.rpartition(":")
    # The address under which the others reach this machine's processes, if rank 0 is among them.
    own = host if first else _own_address(host, int(port))
    conf = f"is_host={int(first)},join_timeout={_MEETING_SECONDS},timeout={_MEETING_SECONDS}"
    return [
        *("--nnodes", str(start.nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", start.endpoint),
        *("--rdzv-id", start.id, "--rdzv-conf", conf, "--local-addr", own),
    ]


def _own_address(host: str, port: int) -> str:
    """This machine's address on the way to `host`; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def start_file(root: Path, stage: str) -> Path:
    """Where the first machine tells the others what to start."""
    return root / ".cache" / "work" / f"{stage}.start.json"


def write_start(file: Path, start: Start) -> None:
    """Tell the others; replaces the start before."""
    with whole_file(file) as partial:
        partial.write_text(json.dumps(asdict(start)) + "\n", encoding="utf-8")


def read_start(file: Path) -> Start | None:
    """The current start; None while there is none."""
    try:
        return Start(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as problem:
        raise UserError(f"{file}: not readable ({problem}); use the same version on all machines") from None


def join(stage: str, root: Path) -> None:
    """Take part in `stage` with this machine's processes until the first machine has ended it.

    Waits for the first start without a limit: the stages before may take hours.

    Raises:
        UserError: this machine's torchrun failed at the last start.
    """
    file, ran, status = start_file(root, stage), "", 0
    log.info("waiting for the start of %s (%s)", stage, file)
    while True:
        start = read_start(file)
        if start is None and ran:
            break
        if start is None or start.id == ran:
            time.sleep(POLL_SECONDS)
            continue
        log.info("%s: %s processes, of %s machines at %s", stage, start.processes, start.nodes, start.endpoint)
        ran, status = start.id, _run_until_replaced(start, root, file)
    if status:
        raise UserError(f"{stage}: a process of this machine died (exit status {status}); see the messages above")
    log.info("%s has ended", stage)


def _run_until_replaced(start: Start, root: Path, file: Path) -> int:
    """Run this machine's torchrun; its exit status, or 0 when the first machine ended the start before."""
    torchrun = command(start, torchrun_options(start, first=False))
    running = subprocess.Popen(torchrun, cwd=root, preexec_fn=die_with_parent)
    try:
        while running.poll() is None:
            now = read_start(file)
            if now is None or now.id != start.id:
                return 0
            time.sleep(POLL_SECONDS)
        return running.returncode
    finally:
        running.kill()  # its processes end with it, see launch.py
        running.wait()


def command(start: Start, options: list[str]) -> list[str]:
    """The torchrun of one machine, without restarts of its own."""
    torchrun = ["-m", "torch.distributed.run", *options, "--nproc-per-node", str(start.processes)]
    torchrun += ["--max-restarts", "0", "--monitor-interval", "1"]
    return [sys.executable, *torchrun, "-m", "components.stage.launch", start.stage, start.out, start.work]
