"""compose.yaml: every service healthy, unprivileged, limited, pinned, on loopback, and told its secrets by file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.make_secrets import NAMES
from infra.rules.common import image_problems, secret_files, variable_problems

_ROOT_USER = re.compile(r"^(root|0)(:|$)|:-0\}")
_OWN_IMAGES = "embedding-foundry/"
_REQUIRED: dict[
    str, dict[str, str | None]
] = {  # variables without which a server is open, phones home, or reads pickle
    "mlflow": {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": None,
        "MLFLOW_AUTH_ADMIN_PASSWORD_FILE": None,
    },
    "prefect": {
        "PREFECT_SERVER_API_AUTH_STRING_FILE": None,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    },
    "worker": {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json"},
}


def compose_problems(compose: dict[str, Any], folder: Path, version: str) -> Iterator[str]:
    """Every problem of a parsed compose file that lies in `folder`."""
    for name, service in compose["services"].items():
        for rule in (_identity, _health, _limits, _confinement, _ports, _volumes):
            yield from (f"{name}: {problem}" for problem in rule(service))
        yield from (f"{name}: {problem}" for problem in image_problems(service.get("image"), version))
        yield from (f"{name}: {problem}" for problem in _environment(name, service, compose))
        yield from (f"{name}: {problem}" for problem in _references(service, compose, folder))
    yield from _network_problems(compose)
    for name, secret in compose.get("secrets", {}).items():
        if secret.get("file") != f"./secrets/{name}" or name not in NAMES:
            yield f"secret {name} is not one that infra/make_secrets.py writes to infra/secrets/{name}"


def _one_shot(service: dict[str, Any]) -> bool:
    return service.get("restart") == "no"


def _identity(service: dict[str, Any]) -> Iterator[str]:
    user = str(service.get("user", ""))
    if not user or _ROOT_USER.search(user):
        yield "runs as root; set user: to a number other than 0"


def _health(service: dict[str, Any]) -> Iterator[str]:
    check = service.get("healthcheck", {})
    if not _one_shot(service) and (not check.get("test") or check.get("disable")):
        yield 'has no healthcheck (only a one-shot service with restart: "no" needs none)'


def _limits(service: dict[str, Any]) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    for resource in ("cpus", "memory"):
        if resource not in limits:
            yield f"has no limit on {resource}; set deploy.resources.limits.{resource}"


def _confinement(service: dict[str, Any]) -> Iterator[str]:
    if service.get("cap_drop") != ["ALL"]:
        yield "keeps kernel capabilities; set cap_drop: [ALL]"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges; set security_opt: [no-new-privileges:true]"
    if service.get("privileged") or service.get("cap_add"):
        yield "is privileged or adds capabilities"
    for key in ("network_mode", "pid", "ipc"):
        if service.get(key) == "host":
            yield f"shares the host's {key}"
    holds_project = any(str(volume).endswith(":/project") for volume in service.get("volumes", []))
    if not service.get("read_only") and not holds_project:
        yield "has a writable root file system; set read_only: true"


def _ports(service: dict[str, Any]) -> Iterator[str]:
    for port in service.get("ports", []):
        host = port.get("host_ip", "") if isinstance(port, dict) else str(port)
        if not host.startswith("127.0.0.1"):
            yield f"port {port} is open to the network; publish it on 127.0.0.1"


def _volumes(service: dict[str, Any]) -> Iterator[str]:
    for volume in service.get("volumes", []):
        if "docker.sock" in str(volume):
            yield "mounts the Docker socket, which is root on the host"


def _environment(name: str, service: dict[str, Any], compose: dict[str, Any]) -> Iterator[str]:
    variables = service.get("environment", {})
    yield from variable_problems(variables)
    for secret in sorted(secret_files(variables) - set(service.get("secrets", []))):
        yield f"reads /run/secrets/{secret} but does not list {secret} under secrets:"
    for variable, value in _REQUIRED.get(name.removesuffix("-gpu"), {}).items():
        given = variables.get(variable)
        if given is None or (value is not None and given != value):
            yield f"needs {variable}" + (f": {value}" if value else "")
    if name == "mlflow" and "basic-auth" not in service.get("command", []):
        yield "does not ask for a password; add --app-name basic-auth to its command"
    if "*" in str(variables.get("MLFLOW_SERVER_ALLOWED_HOSTS", "")):
        yield "MLFLOW_SERVER_ALLOWED_HOSTS allows every host name"
    python = str(service.get("image", "")).startswith(_OWN_IMAGES) and name != "store"
    if python and variables.get("DO_NOT_TRACK") != "true":
        yield "sends telemetry; set DO_NOT_TRACK: true (the word, not 1)"
    for secret in service.get("secrets", []):
        if secret not in compose.get("secrets", {}):
            yield f"lists an unknown secret {secret}"


def _references(service: dict[str, Any], compose: dict[str, Any], folder: Path) -> Iterator[str]:
    for needed in service.get("depends_on", {}):
        if needed not in compose["services"]:
            yield f"depends on an unknown service {needed}"
    for network in service.get("networks", []):
        if network not in compose.get("networks", {}):
            yield f"joins an unknown network {network}"
    for volume in service.get("volumes", []):
        source = str(volume).split(":")[0]
        if source.startswith("./") and not (folder / source).exists():
            yield f"mounts {source}, which does not exist"
        if re.match(r"^[a-z]", source) and source not in compose.get("volumes", {}):
            yield f"uses an undeclared volume {source}"
    dockerfile = service.get("build", {}).get("dockerfile")
    if dockerfile and not (folder.parent / dockerfile).exists():
        yield f"is built from {dockerfile}, which does not exist"


def _network_problems(compose: dict[str, Any]) -> Iterator[str]:
    if not compose.get("networks", {}).get("backend", {}).get("internal"):
        yield "network backend is not internal: the databases would reach, and be reached from, outside"
    for name in ("postgres", "backup"):
        if compose["services"].get(name, {}).get("networks") != ["backend"]:
            yield f"{name}: belongs on network backend only"
