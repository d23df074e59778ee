"""A `python` and a `foundry` whose processes start in a blink: each is forked from a server with its imports done.

A process of the pipeline works one to eight seconds to import dvc, MLflow, torch and mteb before it does anything.
The folder of `warm_python` goes first on PATH: dvc, a stage and the upload to MLflow that a test starts by these names,
and what they start by `sys.executable`, are forked; any other process starts as ever. To its parent a forked one looks
like any: arguments, folder, environment, output, exit status, and a signal or kill -9 ends it. Its parent, however, is
the server: what looks for dvc among its ancestors finds none. Tests of kills and of the command line start cold ones.
"""

import array
import json
import os
import runpy
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.warm import warm_context

MODULES = (
    *("components.tracking.runs", "components.tracking.uploader", "mlflow.client", "mlflow.data"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("dvc.cachemgr", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo", "dvc.repo.graph", "dvc.repo.index", "dvc.scm"),
    *("dvc.repo.reproduce", "dvc.utils.strictyaml"),
)
FORKED = ("dvc", "components.tracking.upload")  # of `python -m`; the others start cold

LAUNCHER = """\
#!{python} -ISE
import array, json, os, signal, socket, sys
words = sys.argv[1:]
forked = words[:1] == ["-m"] and words[1] in {forked} or words and words[0].endswith(".py")
if not sys.argv[0].endswith("/foundry") and not forked:
    os.execv({python!r}, [{python!r}, *words])
request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
server.sendall(request)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
status = server.recv(1)
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status[0])
"""


@contextmanager
def warm_python(folder: Path) -> Iterator[Path]:
    """Start the server; yields `folder`, in which `python` and `foundry` are then."""
    address = str(folder / "server")
    for name in ("python", "foundry"):
        (folder / name).write_text(
            LAUNCHER.format(python=sys.executable, address=address, forked=FORKED), encoding="utf-8"
        )
        (folder / name).chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    server = warm_context().Process(target=serve, args=(listener, str(folder / "python")))
    server.start()
    listener.close()
    try:
        yield folder
    finally:
        server.kill()
        server.join()


def serve(listener: socket.socket, python: str) -> None:
    """Fork a process a connection, until this one is killed."""
    for module in MODULES:
        __import__(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here: the launchers do
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(connection, python)
        connection.close()


def become(connection: socket.socket, python: str) -> None:
    """Turn this process into the one that a launcher asks for; does not return."""
    status = 1
    try:
        arguments = take_over(connection, python)
        threading.Thread(target=obey, args=(connection,), daemon=True).start()
        status = run(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status & 0xFF]))
        os._exit(status & 0xFF)


def take_over(connection: socket.socket, python: str) -> list[str]:
    """The launcher's standard streams, folder and environment become ours; returns its arguments."""
    length, controls, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", controls[0][2])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    wanted, request = int.from_bytes(length, "big"), b""
    while len(request) < wanted:
        request += connection.recv(wanted - len(request))
    arguments, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.setsid()
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
    command, *rest = arguments
    if Path(command).name == "foundry":
        from flows.cli.main import main

        sys.argv = arguments
        sys.exit(main())
    if rest[0] == "-m":
        sys.argv = ["-m", *rest[2:]]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = rest
        sys.path.insert(0, str(Path(rest[0]).resolve().parent))
        runpy.run_path(rest[0], run_name="__main__")
