"""The servers of infra/compose.yaml as processes on loopback: same commands, same variables, same entrypoint.

Only what a machine without Docker must change is changed: addresses, folders, and moto in place of the object store.
Postgres is used where its programs are installed, sqlite where not (`LocalStack.database` says which).

    with running_stack(folder) as stack:
        subprocess.run([...], env={**os.environ, **stack.client_environment()})
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from components.base.process import die_with_parent
from infra.make_secrets import make_secrets
from tests.warm_python import warm_python

REPOSITORY = Path(__file__).resolve().parents[2]
INFRA = REPOSITORY / "infra"
START_SECONDS = 300.0  # 20 s on two idle cores; tests beside us stretch it
PORTS = {"postgres": 5432, "store": 7070, "mlflow": 5000, "prefect": 4200}


def postgres_programs() -> Path | None:
    """Folder of initdb and postgres: on PATH, or where Debian keeps them; None where neither is there."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


@dataclass
class LocalStack:
    """Running servers, their addresses and their secrets; made by `running_stack`."""

    folder: Path
    database: str
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compose: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
        make_secrets(self.secrets)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    @property
    def secrets(self) -> Path:
        """Folder of the secret files."""
        return self.folder / "secrets"

    def secret(self, name: str) -> str:
        """Text of one secret."""
        return (self.secrets / name).read_text(encoding="utf-8")

    def url(self, service: str) -> str:
        """Address of a service, without a path."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def localised(self, text: str) -> str:
        """A value of compose.yaml as it reads on this machine: addresses and folders replaced."""
        for service, port in PORTS.items():
            hosts = "|".join((service, "localhost", r"127\.0\.0\.1"))
            text = re.sub(rf"(?<![\w.])(?:{hosts}):{port}\b", f"127.0.0.1:{self.ports[service]}", text)
        text = text.replace("/run/secrets", str(self.secrets)).replace("/opt/foundry", str(self.folder / "opt"))
        text = text.replace("/home/foundry", str(self.folder / "home")).replace(
            "/tmp/prefect", str(self.folder / "tmp")
        )
        if self.database == "sqlite":
            text = re.sub(r"postgresql\+psycopg2://(\w+)@\S+", rf"sqlite:///{self.folder}/\1.db", text)
            text = re.sub(r"postgresql\+asyncpg://(\w+)@\S+", rf"sqlite+aiosqlite:///{self.folder}/\1.db", text)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The variables compose.yaml gives a service, for this machine (`X_FILE` variables still name files)."""
        given: Mapping[str, str] = self.compose["services"][service]["environment"]
        return {name: self.localised(str(value)) for name, value in given.items()}

    def client_environment(self) -> dict[str, str]:
        """The worker's variables with the secrets read: what a process of the pipeline needs to reach the servers."""
        given = {k: v for k, v in self.environment("worker").items() if k not in {"HOME", "HF_HOME"}}
        given["PREFECT_HOME"] = str(self.folder / "client")
        return {k.removesuffix("_FILE"): Path(v).read_text() if k.endswith("_FILE") else v for k, v in given.items()}

    def command(self, service: str) -> list[str]:
        """The command compose.yaml gives a service, listening on loopback, on this stack's port."""
        command = [self.localised(str(word)) for word in self.compose["services"][service]["command"]]
        swap = {"--host": "127.0.0.1", "--port": str(self.ports.get(service, 0)), "--workers": "1"}
        for flag, value in swap.items():
            if flag in command:
                command[command.index(flag) + 1] = value
        return command

    def spawn(self, name: str, command: list[str], env: Mapping[str, str], user: int | None = None) -> None:
        """Start a process in its own session; its output goes to NAME.log in the stack's folder."""
        work = self.folder / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        path = f"{warm_python()}{os.pathsep}{os.environ['PATH']}"
        base = {"PATH": path, "HOME": str(self.folder / "home"), "SECRETS_FOLDER": str(self.secrets), "LANG": "C.UTF-8"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=work,
                env={**base, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, first_signal(name)),
                user=user,
                group=pwd.getpwuid(user).pw_gid if user is not None else None,
                extra_groups=[] if user is not None else None,
            )

    def spawn_service(self, name: str) -> None:
        """Start a service of compose.yaml through the images' entrypoint."""
        self.spawn(name, [str(INFRA / "images/entrypoint.sh"), *self.command(name)], self.environment(name))

    def run_service(self, name: str, *arguments: str) -> str:
        """Run a one-shot service to its end; returns its output. Raises RuntimeError with the output if it fails."""
        command = [str(INFRA / "images/entrypoint.sh"), *(arguments or self.command(name))]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(self.folder), "SECRETS_FOLDER": str(self.secrets), **self.environment(name)}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=START_SECONDS)
        if done.returncode:
            raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def wait_for_http(self, name: str, path: str) -> None:
        """Wait until the service answers 200 on `path`; raises RuntimeError with the end of its log otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.processes[name].poll() is None:
            if status(self.url(name) + path) == 200:
                return
            time.sleep(0.3)
        raise RuntimeError(f"{name} did not come up:\n{(self.folder / f'{name}.log').read_text()[-3000:]}")

    def stop(self, name: str) -> None:
        """End one process and everything it started, by its process group."""
        process = self.processes.pop(name)
        try:
            os.kill(process.pid, first_signal(name))
            process.wait(timeout=5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        _kill_group(process.pid)
        process.wait()

    def start_postgres(self) -> None:
        """A cluster in the stack's folder with the two databases, made by infra/postgres/roles.sh."""
        programs = postgres_programs()
        assert programs is not None
        data, user = self.folder / "postgres", unprivileged_user()
        data.mkdir()
        if user is not None:
            os.chown(data, user, pwd.getpwuid(user).pw_gid)
        password = str(self.secrets / "postgres_password")
        pwfile = self.folder / "pwfile"
        shutil.copy(password, pwfile)
        init = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", "--no-sync"]
        group = pwd.getpwuid(user).pw_gid if user is not None else None
        subprocess.run(
            [*init, f"--pwfile={pwfile}"], check=True, capture_output=True, timeout=60, user=user, group=group, cwd="/"
        )
        pwfile.unlink()
        server = [str(programs / "postgres"), "-D", str(data), "-k", "", "-h", "127.0.0.1", "-F"]
        self.spawn("postgres", [*server, "-p", str(self.ports["postgres"])], {}, user)
        deadline = time.monotonic() + START_SECONDS
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.ports["postgres"])]
        while subprocess.run(ready, timeout=30).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError((self.folder / "postgres.log").read_text()[-3000:])
            time.sleep(0.2)
        self.run_postgres_script("roles.sh")

    def postgres_environment(self) -> dict[str, str]:
        """libpq's variables for the administrator of the databases."""
        programs = postgres_programs()
        return {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.ports["postgres"]),
            "PGUSER": "postgres",
            "PGPASSWORD_FILE": str(self.secrets / "postgres_password"),
            "SECRETS_FOLDER": str(self.secrets),
        }

    def run_postgres_script(self, name: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run one script of infra/postgres; raises RuntimeError with its output if it fails and `check` is not "no"."""
        check = more.pop("check", "yes")
        env = {**self.postgres_environment(), "PGPASSWORD": self.secret("postgres_password"), **more}
        command = [str(INFRA / "postgres" / name), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=START_SECONDS)
        if done.returncode and check == "yes":
            raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


def first_signal(name: str) -> signal.Signals:
    """What ends a server: SIGTERM, but for Postgres, which then waits for its clients to go; SIGINT is its fast way."""
    return signal.SIGINT if name == "postgres" else signal.SIGTERM


def unprivileged_user() -> int | None:
    """Postgres refuses to run as root: whom to run it as then. None where we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise RuntimeError("running as root and there is neither a user postgres nor nobody to run Postgres as")


def free_ports(count: int) -> list[int]:
    """Distinct ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def status(url: str, headers: Mapping[str, str] | None = None) -> int:
    """HTTP status of a GET; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as problem:
        return problem.code
    except OSError:
        return 0


def _kill_group(group: int) -> None:
    """What a server left behind in its process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _prepare_folders(stack: LocalStack) -> None:
    for name in ("home", "opt", "client", "tmp"):
        (stack.folder / name).mkdir()
    ini = stack.localised((INFRA / "mlflow/basic_auth.ini").read_text(encoding="utf-8"))
    (stack.folder / "opt/basic_auth.ini").write_text(ini, encoding="utf-8")
    for name in ("bootstrap.py", "work-pools.yaml"):
        shutil.copy(INFRA / name, stack.folder / "opt" / name)


@contextmanager
def running_stack(folder: Path, database: str | None = None) -> Iterator[LocalStack]:
    """Start Postgres (or sqlite), an S3 stand-in, MLflow and Prefect, run the bootstrap, and stop all at the end.

    Args:
        folder: an existing empty folder that every user may enter (Postgres does not run as root).
        database: "postgres" or "sqlite"; by default Postgres where it is installed.
    """
    stack = LocalStack(folder, database or ("postgres" if postgres_programs() else "sqlite"))
    _prepare_folders(stack)
    try:
        moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(stack.ports["store"])]
        stack.spawn("store", moto, {})
        if stack.database == "postgres":
            stack.start_postgres()
        stack.spawn_service("mlflow")
        stack.spawn_service("prefect")
        for name, path in (("store", "/moto-api/"), ("mlflow", "/health"), ("prefect", "/api/health")):
            stack.wait_for_http(name, path)
        stack.run_service("bootstrap")
        yield stack
    finally:
        for name in reversed(list(stack.processes)):
            stack.stop(name)
