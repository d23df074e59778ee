"""A command `foundry` that starts in a blink: it has a warm process run what dvc asks for, and waits for it.

dvc starts nine stages a pipeline, each of which imports torch for seconds. A test of what happens between stages, not
in their start, puts the folder of this command first on PATH.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.warm import start_warm

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(8, "big")], [1, 2])
    server.sendall(asked)
    sys.exit((server.recv(1) or bytes([75]))[0])
"""


@contextlib.contextmanager
def warm_foundry(folder: Path) -> Iterator[Path]:
    """The folder with the command; the warm process ends with the block."""
    folder.mkdir()
    path, command = folder / "socket", folder / "foundry"
    command.write_text(CLIENT.format(python=sys.executable, path=str(path)), encoding="utf-8")
    command.chmod(0o755)
    process = start_warm(serve, path)
    try:
        while not path.exists():
            process.join(0.05)
            assert process.exitcode is None
        yield folder
    finally:
        process.kill()
        process.join()


def serve(path: Path) -> None:
    """Fork for every command that comes in."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        while True:
            asking, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(asking)
            asking.close()


def _answer(asking: socket.socket) -> None:
    """Run one command with the caller's output, folder and environment; send its exit status."""
    size, handles, _, _ = socket.recv_fds(asking, 8, 2)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += asking.recv(1 << 16)
    arguments, folder, environment = json.loads(asked)
    for handle, own in zip(handles, (1, 2), strict=True):
        os.dup2(handle, own)
    sys.stdout, sys.stderr = (open(own, "w", buffering=1, closefd=False) for own in (1, 2))  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    asking.sendall(bytes([_status(arguments)]))
    os._exit(0)


def _status(arguments: list[str]) -> int:
    from flows.cli.main import main

    sys.argv = ["foundry", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001  told to the caller as an exit status
        traceback.print_exc()
        return 1
    return 0
