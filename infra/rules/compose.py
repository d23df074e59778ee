"""Rules for compose.yaml: hardened services, pinned images, secrets as files, and every name it uses declared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.make_secrets import NAMES
from infra.rules.common import OURS, image_problems, missing_secrets, variable_problems
from infra.rules.hardening import violations


def compose_problems(compose: dict[str, Any], folder: Path, version: str) -> Iterator[str]:
    """Every problem of a parsed compose file in `folder`."""
    yield from violations("compose", compose)
    for name, service in compose["services"].items():
        variables = service.get("environment", {})
        yield from (f"{name}: {problem}" for problem in image_problems(service.get("image"), version))
        yield from (f"{name}: {problem}" for problem in variable_problems(variables))
        yield from (f"{name}: {problem}" for problem in missing_secrets(variables, set(service.get("secrets", []))))
        yield from (f"{name}: {problem}" for problem in _undeclared(service, compose))
        ours, any_uid = str(service.get("image")).startswith(OURS), "${" in str(service.get("user"))
        if ours and any_uid and not variables.get("USER"):
            yield f"{name}: runs as any uid of the host and sets no USER; DVC fails for a uid without a passwd entry"
        yield from (f"{name}: {path} does not exist" for path in _files(service) if not (folder / path).exists())
    for name, secret in compose.get("secrets", {}).items():
        if secret.get("file") != f"./secrets/{name}" or name not in NAMES:
            yield f"secret {name} is not one that infra/make_secrets.py writes to infra/secrets/{name}"


def _undeclared(service: dict[str, Any], compose: dict[str, Any]) -> Iterator[str]:
    """What `docker compose config` also refuses, on machines without Docker."""
    volumes = [str(volume).split(":")[0] for volume in service.get("volumes", [])]
    used = {
        "services": service.get("depends_on", {}),
        "networks": service.get("networks", []),
        "secrets": service.get("secrets", []),
        "volumes": [volume for volume in volumes if volume[0] not in "./$"],
    }
    for section, names in used.items():
        for name in sorted(set(names) - set(compose.get(section, {}))):
            yield f"{name} is not declared under {section}"


def _files(service: dict[str, Any]) -> list[str]:
    """Files of the repository that a service mounts or is built from, relative to infra/."""
    mounted = [str(volume).split(":")[0] for volume in service.get("volumes", [])]
    dockerfile = service.get("build", {}).get("dockerfile")
    return [*(path for path in mounted if path.startswith("./")), *([f"../{dockerfile}"] if dockerfile else [])]
