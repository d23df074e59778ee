"""A `python` and a `foundry` whose processes start at once: each is forked from a server with its imports done.

A process of the pipeline takes one to eight seconds to import dvc, MLflow, torch and mteb before it does anything.
`warm_python()` is a folder to put first on PATH: dvc, a stage, torchrun, the upload to MLflow, a flow and the servers
that a test starts by these names, and what they start by `sys.executable`, are forked, and so are the test processes
of xdist; any other process starts as usual. To its parent a forked one looks like any: arguments, folder, environment,
open files, exit status, and a signal or kill -9 ends it. Its parent, however, is the server: what looks for dvc among
its ancestors finds none, and one that replaces itself (exec) is lost to its parent. Tests of commands that are killed,
and of the command line, start cold ones.

All test processes of a machine share one server. It ends when the last of them has ended.
"""

import array
import contextlib
import fcntl
import gc
import importlib
import json
import logging
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import types
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

MODULES = (
    *("peft", "sentence_transformers", "polars", "components.training.train", "components.evaluation.evaluate"),
    "mteb.benchmarks.benchmarks",  # makes each of its tasks: seconds
    *("components.tracking.runs", "components.tracking.uploader", "mlflow.client", "mlflow.data"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo", "dvc.repo.graph", "dvc.repo.index", "dvc.scm"),
    *("dvc.repo.reproduce", "dvc.utils.strictyaml"),
)
PREFECT = ("prefect.cli", "prefect.engine", "prefect.flows", "prefect.workers.process", "prefect.server.api.server")
FORKED: dict[str, tuple[str, ...]] = {  # of `python -m`: what the server imports before it forks the first of them
    **dict.fromkeys(("dvc", "components.tracking.upload", "components.stage.launch"), ()),
    "tests.model.flex_kernels": (),
    **dict.fromkeys(("flows.cli", "prefect", "prefect.engine"), PREFECT),
    **dict.fromkeys(("infra.cluster_deployments", "mlflow"), ()),
    "uvicorn": ("prefect.server.api.server", "mlflow.pyfunc.scoring_server"),
    "torch.distributed.run": ("torch.distributed.run",),
}
PROGRAMS = {"foundry": "flows.cli", "mlflow": "mlflow", "prefect": "prefect", "uvicorn": "uvicorn"}  # each `python -m`
TEST_PROCESS = "import sys;exec(eval(sys.stdin.readline()))"  # of xdist
FORKED_CODE = ("from multiprocessing.forkserver import main;", TEST_PROCESS)  # of `python -c`, the start
MOST_FILES = 32
STARTS = 3

LAUNCHER = """\
#!{python} -ISE
import array, json, os, signal, socket, sys
words = sys.argv[1:]
module = {programs}.get(os.path.basename(sys.argv[0]))
if module:
    words = ["-m", module, *words]
while words and words[0] in ("-u", "-B"):
    del words[0]
forked = words[:1] == ["-m"] and words[1] in {forked} or words[:1] == ["-c"] and words[1].startswith({code})
if not forked and not (words and words[0].endswith(".py")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
files = [number for number in map(int, os.listdir("/dev/fd")) if os.path.exists(f"/dev/fd/{{number}}")]
request = json.dumps([words, os.getcwd(), dict(os.environ), files]).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
sent = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
server.sendmsg([len(request).to_bytes(4, "big")], sent)
server.sendall(request)
for number in files:
    if number > 2:
        os.close(number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
status = server.recv(1)
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status[0])
"""

SHARED: list[Path] = []  # the folder of all test processes; tests/conftest.py puts it here


@cache
def warm_python() -> Path:
    """The folder with `python` and `foundry`; the server runs as long as this process, or another that called this.

    Outside pytest (benchmarks/kills.py, tests/flows/update_and_monitor.py) the environment's own programs, each started
    from nothing as a user's are.
    """
    if not SHARED:
        return Path(sys.executable).parent
    (place,) = SHARED
    folder = place / "warm"
    folder.mkdir(exist_ok=True)
    for _ in range(STARTS):
        with FileLock(folder / "lock"):
            connection = _connect(folder) or _start(folder)
        connection.sendall(bytes(4))  # no request: this process is here
        if connection.recv(1):  # the imports are done; nothing: the server ended at this moment
            KEPT.append(connection)
            return folder
    raise RuntimeError((folder / "log").read_text(encoding="utf-8")[-3000:])


KEPT: list[socket.socket] = []  # closed by the end of this process


def _connect(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "server"))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def _start(folder: Path) -> socket.socket:
    address = folder / "server"
    address.unlink(missing_ok=True)
    made: dict[str, Any] = {
        "python": sys.executable,
        "address": str(address),
        "forked": tuple(FORKED),
        "code": FORKED_CODE,
        "programs": PROGRAMS,
    }
    for name in ("python", *PROGRAMS):
        (folder / name).write_text(LAUNCHER.format(**made), encoding="utf-8")
        (folder / name).chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener, (folder / "log").open("wb") as log:
        listener.bind(str(address))
        listener.listen(64)
        subprocess.Popen(
            [sys.executable, "-m", "tests.warm_python", str(listener.fileno()), str(folder / "python")],
            cwd=Path(__file__).parents[1],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        connection = _connect(folder)
    assert connection is not None
    return connection


# ---------------------------------------------------------------- in the server


def serve(listener: socket.socket, python: str) -> None:
    """Fork a process a request; return when the last test process has gone."""
    gc.disable()  # a fifth of the CPU seconds of the imports
    for module in MODULES:
        __import__(module)
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, _reap)
    here: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj in here:
                    gone: Any = key.fileobj
                    selector.unregister(gone)
                    here.remove(gone)
                    gone.close()
                    if not here:
                        return
                    continue
                connection, _ = listener.accept()
                length, files = _header(connection)
                if not length:
                    connection.sendall(b"1")
                    here.add(connection)
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                request = _receive(connection, length)
                import_for(request[0])
                if os.fork() == 0:
                    selector.close()
                    for other in (listener, *here):
                        other.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    become(connection, request, files, python)
                connection.close()
                for file in files:
                    os.close(file)


def _reap(*_: Any) -> None:
    """Take note of forked processes that have ended: their launchers know how."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _header(connection: socket.socket) -> "tuple[int, array.array[int]]":
    """(bytes of the request, the launcher's open files)."""
    numbers = array.array("i")
    header, controls, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(MOST_FILES * numbers.itemsize), socket.MSG_WAITALL)
    for _, _, data in controls:
        numbers.frombytes(data)
    return int.from_bytes(header, "big"), numbers


def _receive(connection: socket.socket, length: int) -> list[Any]:
    """A launcher's arguments, folder, environment and the numbers of its open files."""
    request = b""
    while len(request) < length:
        request += connection.recv(length - len(request))
    return list(json.loads(request))


def import_for(arguments: list[str]) -> None:
    """Import, in the server, what the process that these arguments start needs besides MODULES."""
    handlers, level = logging.root.handlers[:], logging.root.level
    for module in FORKED[arguments[1]] if arguments[0] == "-m" else ():
        __import__(module)
    if "prefect.main" in sys.modules:
        forget_prefect_logging(handlers, level)


def forget_prefect_logging(handlers: list[logging.Handler], level: int) -> None:
    """Undo the logging that Prefect sets up; a process that imports prefect.main, as `from prefect import flow` does,
    sets it up by its own environment."""
    from prefect.logging.configuration import PROCESS_LOGGING_CONFIG

    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    PROCESS_LOGGING_CONFIG.clear()
    del sys.modules["prefect.main"]


def become(connection: socket.socket, request: list[Any], files: "array.array[int]", python: str) -> None:
    """Turn this process into the one that a launcher asks for; does not return."""
    status = 1
    connection = socket.socket(fileno=_out_of_the_way(connection.detach()))
    try:
        arguments = take_over(request, files, python)
        threading.Thread(target=obey, args=(connection,), daemon=True).start()
        status = run(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status & 0xFF]))
        os._exit(status & 0xFF)


def _out_of_the_way(file: int) -> int:
    """The same file under a number that no launcher has."""
    moved = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 512)
    os.close(file)
    return moved


def take_over(request: list[Any], files: "array.array[int]", python: str) -> list[str]:
    """The launcher's open files, folder and environment become ours; returns its arguments."""
    arguments, folder, environment, numbers = request
    for number, moved in zip(numbers, [_out_of_the_way(file) for file in files], strict=True):
        os.dup2(moved, number, inheritable=number <= 2)
        os.close(moved)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.setsid()
    if not arguments[-1].startswith(TEST_PROCESS):  # it starts cold processes, but for those it asks to be forked
        sys.executable = python
    return list(arguments)


def obey(connection: socket.socket) -> None:
    """Signals that the launcher got are ours, and we end with it."""
    while number := connection.recv(1):
        os.kill(os.getpid(), number[0])
    os.kill(os.getpid(), signal.SIGKILL)


def run(arguments: list[str]) -> int:
    """What Python does with these arguments; returns the exit status."""
    import atexit
    import traceback

    try:
        run_as_main(arguments)
        status: Any = 0
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads
    atexit._run_exitfuncs()
    return int(status) if isinstance(status, int) else int(status is not None)


def run_as_main(arguments: list[str]) -> None:
    """What `python` does with `-m MODULE`, `-c CODE` or a file."""
    first, *rest = arguments
    sys.modules["__main__"] = types.ModuleType("__main__")
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(rest[0], sys.modules["__main__"].__dict__)  # noqa: S102  what `python -c` does
        return
    sys.path.insert(0, os.getcwd() if first == "-m" else str(Path(first).resolve().parent))
    if first == "-m" and FORKED[rest[0]]:
        read_prefect_settings(arguments)
    if first == "-m":
        sys.argv = ["-m", *rest[1:]]
        warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning, "runpy")
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


def read_prefect_settings(arguments: list[str]) -> None:
    """Prefect reads its settings from the environment when it is imported: that was the server's, this is ours."""
    if arguments[1] == "flows.cli":
        importlib.import_module("flows")  # it sets variables that Prefect reads
    if "prefect" in sys.modules:
        importlib.import_module("prefect.context").refresh_global_settings_context()
    if any(word.startswith("prefect") for word in arguments):
        importlib.import_module("prefect.main")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        serve(listening, sys.argv[2])
    os._exit(0)  # what was imported takes a second to be taken down
