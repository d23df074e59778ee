"""Checks for infra/ that need no container engine: `python -m infra.check`.

Our own rules (infra/rules) run everywhere. Schemas and linters from other packages run where they are installed, and
are reported as left out elsewhere: `pip install -e '.[infra-check]'` installs all but kubectl and docker.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.bootstrap import read_pools, work_pool
from infra.make_secrets import NAMES, YOURS, make_secrets
from infra.rules.compose import compose_problems
from infra.rules.images import dockerfile_problems
from infra.rules.kubernetes import kubernetes_problems, pod_of, variables
from infra.rules.pools import pool_problems

KUBERNETES_VERSION = "1.34"
OVERLAYS = ("cpu", "gpu")


class ToolMissingError(Exception):
    """A tool or package is not installed; the text says what was left out."""


def load_all(text: str) -> list[Any]:
    """Every document of a text, by libyaml where it is there: ten times as fast on a rendered overlay."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, loader) if document is not None]


def read_yaml(path: Path) -> Any:
    """The first document of a YAML file; raises yaml.YAMLError."""
    return load_all(path.read_text(encoding="utf-8"))[0]


def project_version(folder: Path) -> str:
    """The version in pyproject.toml above `folder`."""
    with (folder.parent / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def pools_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Every rendered work pool. Raises ToolMissingError without the packages of their workers."""
    pools = read_pools(folder / "work-pools.yaml")
    for name in pools:
        try:
            yield work_pool(pools, name)
        except ModuleNotFoundError as reason:
            raise ToolMissingError(str(reason)) from None


# ---------------------------------------------------------------- our own rules


def check_syntax(folder: Path) -> Iterator[str]:
    """Every YAML file must parse."""
    for path in sorted(folder.rglob("*.yaml")):
        try:
            load_all(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as problem:
            yield f"{path.relative_to(folder)}: {' '.join(str(problem).split())}"


def check_compose(folder: Path) -> Iterator[str]:
    """compose.yaml keeps our rules."""
    compose = read_yaml(folder / "compose.yaml")
    yield from (f"compose.yaml: {p}" for p in compose_problems(compose, folder, project_version(folder)))


def check_images(folder: Path) -> Iterator[str]:
    """The Dockerfiles keep our rules."""
    for path in sorted((folder / "images").glob("*.Dockerfile")):
        yield from (f"images/{path.name}: {p}" for p in dockerfile_problems(path, project_version(folder)))


def check_pools(folder: Path) -> Iterator[str]:
    """The work pools keep our rules."""
    clients = read_yaml(folder / "compose.yaml")["services"]["worker"]["environment"]
    for pool in pools_of(folder):
        problems = pool_problems(pool, clients, project_version(folder))
        yield from (f"work-pools.yaml: {pool['name']}: {problem}" for problem in problems)


def check_kubernetes(folder: Path) -> Iterator[str]:
    """Both overlays, rendered, keep our rules; the servers' variables are those of compose.yaml."""
    compose = read_yaml(folder / "compose.yaml")
    for overlay in OVERLAYS:
        objects = render(folder, overlay)
        problems = [*kubernetes_problems(objects, project_version(folder)), *drift(objects, compose)]
        yield from (f"kubernetes/overlays/{overlay}: {problem}" for problem in problems)


def drift(objects: list[dict[str, Any]], compose: dict[str, Any]) -> Iterator[str]:
    """Variables of the servers that differ between Kubernetes and compose.yaml."""
    optional = set(compose["x-quiet"]) - {"DO_NOT_TRACK"}  # each container needs its own server's switch only
    for item in objects:
        name, template = item["metadata"]["name"], pod_of(item)
        if template is None or name not in {"postgres", "store", "mlflow", "prefect", "bootstrap", "backup"}:
            continue
        here = variables(template["spec"]["containers"][0])
        there = compose["services"][name]["environment"]
        for variable in sorted(set(here) | set(there) - (optional - set(here))):
            if here.get(variable) != there.get(variable):
                yield f"{name}: {variable} is {here.get(variable)!r} here and {there.get(variable)!r} in compose.yaml"


def render(folder: Path, overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, with throw-away secrets.

    Raises:
        ToolMissingError: neither kustomize nor kubectl is installed.
        ValueError: it does not build: a file does not exist, or make_secrets.py does not write a secret.
    """
    builders = (["kustomize", "build"], ["kubectl", "kustomize"])
    program = next((command for command in builders if shutil.which(command[0])), None)
    if program is None:
        raise ToolMissingError("neither kustomize nor kubectl is installed: overlays not rendered")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "infra"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("backups", *NAMES, *YOURS, "*.old"))
        make_secrets(copy / "secrets")
        command = [*program, str(copy / "kubernetes/overlays" / overlay)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ValueError(f"{overlay}: {done.stderr.strip()}")
    return load_all(done.stdout)


# ---------------------------------------------------------------- schemas and linters from other packages


def check_kubernetes_schema(folder: Path) -> Iterator[str]:
    """Rendered objects and the jobs of the Kubernetes pools against the API's schemas."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        raise ToolMissingError("kubernetes-validate is not installed")
    import kubernetes_validate

    jobs = [_job_of(pool["base_job_template"]) for pool in pools_of(folder) if pool["type"] == "kubernetes"]
    for item in [*jobs, *(item for overlay in OVERLAYS for item in render(folder, overlay))]:
        try:
            kubernetes_validate.validate(item, KUBERNETES_VERSION, strict=True)
        except kubernetes_validate.ValidationError as problem:
            where = ".".join(str(part) for part in problem.path)
            yield f"{item['kind']} {item['metadata'].get('name', 'of a pool')}: {where}: {problem.message}"


def _job_of(template: dict[str, Any]) -> dict[str, Any]:
    """The Job that a base job template makes from its defaults."""
    from prefect.utilities.templating import apply_values

    given = {"name": "job", "labels": {}, "annotations": {}, "env": [], "command": [], "repository": "git"}
    defaults = {name: value.get("default") for name, value in template["variables"]["properties"].items()}
    job: dict[str, Any] = apply_values(template["job_configuration"]["job_manifest"], {**defaults, **given})
    for misplaced in ("completions", "parallelism"):  # Prefect insists on these two in the pod; the API ignores them
        job["spec"]["template"]["spec"].pop(misplaced)
    return job


def lint(folder: Path, tool: str, *arguments: str, files: str) -> Iterator[str]:
    """What a linter prints about the files that match a pattern, if it fails. Raises ToolMissingError."""
    program = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if not program:
        raise ToolMissingError(f"{tool} is not installed")
    command = [program, *arguments, *map(str, sorted(folder.glob(files)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        yield from (line for line in (done.stdout + done.stderr).splitlines() if line.strip())


_COMPOSE_SCHEMA = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
CHECKS: dict[str, Callable[[Path], Iterator[str]]] = {
    "syntax": check_syntax,
    "compose rules": check_compose,
    "image rules": check_images,
    "work pool rules": check_pools,
    "kubernetes rules": check_kubernetes,
    "kubernetes schemas": check_kubernetes_schema,
    "compose schema": lambda folder: lint(folder, *_COMPOSE_SCHEMA, files="compose.yaml"),
    "hadolint": lambda folder: lint(folder, "hadolint", files="images/*.Dockerfile"),
    "shellcheck": lambda folder: lint(folder, "shellcheck", files="**/*.sh"),
}


def outcomes(folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """For every check: its name, "ok", "left out" or "FAILED", and its problems (or why it was left out)."""
    for name, check in CHECKS.items():
        try:
            problems = list(check(folder))
        except ToolMissingError as reason:
            yield name, "left out", [str(reason)]
        except (ValueError, KeyError, TypeError, yaml.YAMLError) as problem:  # not the shape that the rules read
            yield name, "FAILED", [f"{type(problem).__name__}: {problem}"]
        else:
            yield name, "FAILED" if problems else "ok", problems


def main() -> int:
    """Command line; returns 1 if any check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    failed = False
    for name, outcome, lines in outcomes(parser.parse_args().folder.resolve()):
        print(f"{outcome:8}  {name}{': ' + lines[0] if outcome == 'left out' else ''}")
        if outcome == "FAILED":
            failed = True
            print("\n".join(f"          {line}" for line in lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
