"""The services of infra/compose.yaml in Linux namespaces, where there is no container engine.

    python -m tests.infra.containers [--folder FOLDER]       up, a pipeline on the worker, down

Each service has what its container would have: root file system read-only (where it says so), its user, capabilities
none, no new privileges, own processes, host name, secrets, volumes, environment, entrypoint and command. All share one
network, in which every service's name is 127.0.0.1: so host names and ports are those of compose.yaml.

What differs: an image's file system is this machine's /usr and virtual environment, so no Dockerfile is built; Postgres
is the version installed here, started as its image's entrypoint does; moto takes the place of the object store; tini,
memory limits, published ports and restarts are left out.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from components.base.process import die_with_parent
from infra.make_secrets import make_secrets
from tests.infra.local_stack import INFRA, REPOSITORY, postgres_programs

UID = "54321"  # of a host's user who has no passwd entry in the image
FROM_HOST = ("/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc")
START_SECONDS = 1200.0
IMAGE = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
postgres:x:999:999::/var/lib/postgresql:/bin/sh
foundry:x:10001:10001::/home/foundry:/bin/sh
"""
POSTGRES = """\
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w -t 600 start
    PGHOST=/var/run/postgresql bash /docker-entrypoint-initdb.d/10-roles.sh
    pg_ctl -D "$PGDATA" -m fast -w stop
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -h '*'
"""
PIPELINE = """\
from prefect.deployments import run_deployment
from flows.pipeline import pipeline
source = pipeline.from_source(source="/app", entrypoint="flows/pipeline.py:pipeline")
source.deploy(name="check", work_pool_name="process", parameters={"root": "/project"}, print_next_steps=False)
print("state:", run_deployment("pipeline/check", timeout=1200).state)
"""


def root_script(binds: Mapping[str, Path], tmpfs: list[str], read_only: bool, user: str) -> str:
    """A shell script that makes a container's file system in the folder $1, and in its folder $2 runs the rest.

    binds: path in the container -> folder or file of this machine, read-only if the path ends in `:ro`.
    """
    lines = ["set -e", "mount -t tmpfs -o mode=755 root $1", "mkdir $1/proc $1/dev $1/.old"]
    for place in FROM_HOST:
        if Path(place).is_symlink():
            lines.append(f"cp -P {place} $1{place}")
        elif Path(place).exists():
            lines.append(f"mkdir $1{place}; mount --rbind {place} $1{place}; mount -o remount,bind,ro $1{place}")
    lines += ["mount -t proc proc $1/proc", "mount --rbind /dev $1/dev"]
    lines += [f"mkdir -p $1{place}; mount -t tmpfs -o mode=1777 tmp $1{place}" for place in tmpfs]
    for target, source in binds.items():
        inside = target.removesuffix(":ro")
        if not inside.startswith("/etc/"):  # this machine has these files, and /etc is read-only
            parent = Path(inside).parent
            lines.append(f"mkdir -p $1{inside}" if source.is_dir() else f"mkdir -p $1{parent}; touch $1{inside}")
        lines.append(f"mount --rbind {shlex.quote(str(source))} $1{inside}")
        lines += [f"mount -o remount,bind,ro $1{inside}"] if inside != target else []
    lines.append('folder=$2; cd "$1"; shift 2; /usr/sbin/pivot_root . .old; umount -l /.old; rmdir /.old')
    lines += ["mount -o remount,ro /"] if read_only else []
    uid, _, gid = user.partition(":")
    lines.append(f'cd "$folder"; exec unshare --user --map-user={uid} --map-group={gid or uid} "$@"')
    return "\n".join(lines) + "\n"


def contained(script: Path, root: Path, folder: str, host: str, command: list[str]) -> list[str]:
    """The command in namespaces of its own, with the file system that `root_script` wrote to `script`."""
    named = ["sh", "-c", 'hostname "$0"; exec sh "$@"', host, str(script), str(root), folder]
    namespaces = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--uts",
        "--ipc",
    ]
    return [*namespaces, *named, "setpriv", "--no-new-privs", *command]


class Services:
    """The compose file's services below a folder; the checkout `project` is the worker's /project."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder, self.project = folder, project
        self.compose: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        make_secrets(folder / "secrets")
        names = " ".join(self.compose["services"])
        (folder / "hosts").write_text(f"127.0.0.1 localhost {names}\n", encoding="utf-8")
        (folder / "passwd").write_text(PASSWD, encoding="utf-8")
        opt = folder / "opt"
        opt.mkdir()
        for file in ("bootstrap.py", "work-pools.yaml", "mlflow/basic_auth.ini"):  # as server.Dockerfile copies them
            shutil.copy(INFRA / file, opt)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, with those that its image sets."""
        programs = postgres_programs()
        path = f"/opt/venv/bin:{programs}:/usr/bin:/bin"
        given = {key: str(value) for key, value in self.compose["services"][name].get("environment", {}).items()}
        return {"PATH": path, "HOME": "/home/foundry", "PYTHONPATH": "/app", **IMAGE, **given}

    def binds(self, name: str) -> dict[str, Path]:
        """What is mounted in a service: its volumes and its own secrets, and what takes the place of its image."""
        service, own = self.compose["services"][name], self.folder / name
        found = {"/opt/venv:ro": Path(sys.prefix), "/app:ro": REPOSITORY, "/opt/foundry:ro": self.folder / "opt"}
        found |= {f"{place}:ro": Path(place) for place in (sys.prefix, sys.base_prefix) if place[:5] != "/usr/"}
        found |= {"/etc/hosts:ro": self.folder / "hosts", "/etc/passwd:ro": self.folder / "passwd"}
        found |= {"/home/foundry": own / "home"}
        for volume in service.get("volumes", []):
            source, target, *mode = re.sub(r"\$\{FOUNDRY_PROJECT:-..\}", str(self.project), str(volume)).split(":")
            place = INFRA / source if source.startswith(".") else Path(source)
            if not place.is_absolute():
                place = self.folder / "volumes" / source
                place.mkdir(parents=True, exist_ok=True)
            found[":".join([target, *mode])] = place
        for secret in service.get("secrets", []):
            found[f"/run/secrets/{secret}:ro"] = self.folder / "secrets" / secret
        if "/tmp" not in {place.partition(":")[0] for place in service.get("tmpfs", [])}:
            found["/tmp"] = own / "tmp"
        return {target: place for target, place in found.items() if place.exists() or _make(place)}

    def spawn(self, name: str, command: list[str], log: str = "") -> "subprocess.Popen[bytes]":
        """Start a command in the container of a service, through the images' entrypoint."""
        service, own = self.compose["services"][name], self.folder / name
        (own / "root").mkdir(parents=True, exist_ok=True)
        user = re.sub(r"\$\{[^}]*\}", UID, str(service.get("user", "10001:10001")))
        script = own / "root.sh"
        tmpfs = [place.partition(":")[0] for place in service.get("tmpfs", [])]
        read_only = bool(service.get("read_only"))
        script.write_text(root_script(self.binds(name), tmpfs, read_only, user), encoding="utf-8")
        entry = [] if name in {"postgres", "store"} else ["sh", "/app/infra/images/entrypoint.sh"]
        host = str(service.get("hostname", name))
        inside = contained(script, own / "root", service.get("working_dir", "/"), host, [*entry, *command])
        with (self.folder / f"{log or name}.log").open("ab") as output:
            return subprocess.Popen(
                inside,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGKILL),
            )

    def run(self, name: str, command: list[str], log: str) -> str:
        """Run a command in a service's container to its end; returns its output. Raises RuntimeError with it."""
        status, text = self.spawn(name, command, log).wait(), (self.folder / f"{log}.log").read_text(errors="replace")
        if status:
            raise RuntimeError(f"{name}: {' '.join(command)[:200]} ended with {status}:\n{text[-3000:]}")
        return text

    def up(self, wanted: list[str]) -> None:
        """Start services and what they depend on, each when those are healthy or have ended well."""
        services = self.compose["services"]
        graph = {name: set(services[name].get("depends_on", {})) for name in services}
        for name in TopologicalSorter(graph).static_order():
            if not any(name == one or name in _needs(one, graph) for one in wanted):
                continue
            begin = time.monotonic()
            if services[name].get("restart") == "no":
                self.run(name, services[name]["command"], name)
            else:
                stand_ins = {
                    "postgres": ["bash", "-c", POSTGRES],
                    "store": ["python", "-m", "moto.server", "-H", "0.0.0.0", "-p", "7070"],
                }
                self.running[name] = self.spawn(name, stand_ins.get(name) or services[name]["command"])
                self._wait_healthy(name)
            print(f"{name}: {'ended well' if name not in self.running else 'healthy'}", end="", flush=True)
            print(f" after {time.monotonic() - begin:.0f} s", flush=True)

    def _wait_healthy(self, name: str) -> None:
        """Wait for the service's own health check; the store's asks for a page that only Versity's gateway has."""
        health = self.compose["services"][name]["healthcheck"]
        test, interval = health["test"][1:], float(str(health["interval"]).removesuffix("s"))
        if name == "store":
            test = ["python", "-c", "import urllib.request as u; u.urlopen('http://store:7070/moto-api/', timeout=5)"]
        deadline = time.monotonic() + START_SECONDS
        while self.spawn(name, test, f"{name}-health").wait():
            if time.monotonic() > deadline or self.running[name].poll() is not None:
                raise RuntimeError(f"{name}: not healthy:\n{(self.folder / f'{name}.log').read_text()[-3000:]}")
            time.sleep(interval)

    def down(self) -> None:
        """End all services; a container's processes end with its first."""
        for process in reversed(self.running.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _make(place: Path) -> bool:
    place.mkdir(parents=True)
    return True


def _needs(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    return {found for one in graph[name] for found in ({one} | _needs(one, graph))}


def check(services: Services) -> None:
    """DVC and a deployment on the worker, as a uid without a passwd entry. Raises RuntimeError or SystemExit."""
    services.up(["worker"])
    print("worker:", services.run("worker", ["id"], "id").strip(), flush=True)
    services.run("worker", ["dvc", "repro"], "dvc")
    print("dvc repro: ended well", flush=True)
    (services.project / "input.txt").write_text("changed\n")
    text = services.run("worker", ["python", "-c", PIPELINE], "pipeline")
    print(text.strip().splitlines()[-1], flush=True)
    if "Completed" not in text.strip().splitlines()[-1]:
        sys.exit(f"error: the worker did not run the pipeline; see {services.folder}")


def main() -> None:
    """Start everything in a network of its own, check, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keeps logs and data; must not exist")
    given = parser.parse_args()
    if os.readlink("/proc/self/ns/net") == os.environ.get("HOST_NETWORK", os.readlink("/proc/self/ns/net")):
        inside = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
        os.environ["HOST_NETWORK"] = os.readlink("/proc/self/ns/net")
        os.execvp("unshare", [*inside, sys.executable, "-m", "tests.infra.containers", *sys.argv[1:]])
    from tests.flows.conftest import make_toy

    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch) / "stack").resolve()
        folder.mkdir(parents=True)
        services = Services(folder, make_toy(folder / "project"))
        try:
            check(services)
        finally:
            services.down()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
