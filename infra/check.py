"""Check everything in infra/ that can be checked without a container engine: `python -m infra.check`.

Our own rules (infra/rules) need nothing but Python. Schemas and linters of others run where they are installed, and are
named where they are not: `pip install -e '.[infra-check]'` brings them all but kubectl and docker.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.make_secrets import NAMES, YOURS, make_secrets
from infra.rules.compose import compose_problems
from infra.rules.images import dockerfile_problems
from infra.rules.kubernetes import kubernetes_problems, pod_of
from infra.rules.pods import variables
from infra.rules.pools import pool_problems, same_but_for_defaults

KUBERNETES_VERSION = "1.34"
OVERLAYS = ("cpu", "gpu")


class ToolMissingError(Exception):
    """A tool that is not installed; its text says what was left out."""


def load_all(text: str) -> list[Any]:
    """Every document of a text, by libyaml where it is there: ten times as fast on a rendered overlay."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, loader) if document is not None]


def read_yaml(path: Path) -> list[Any]:
    """Every document of a YAML file; raises yaml.YAMLError."""
    return load_all(path.read_text(encoding="utf-8"))


def project_version(folder: Path) -> str:
    """The version in pyproject.toml above `folder`."""
    with (folder.parent / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


# ---------------------------------------------------------------- our own rules


def check_syntax(folder: Path) -> Iterator[str]:
    """Every YAML and JSON file parses, and says so with its place if not."""
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.json")]):
        try:
            json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_yaml(path)
        except (yaml.YAMLError, json.JSONDecodeError) as problem:
            yield f"{path.relative_to(folder)}: {' '.join(str(problem).split())}"


def check_compose(folder: Path) -> Iterator[str]:
    """compose.yaml keeps our rules."""
    (compose,) = read_yaml(folder / "compose.yaml")
    yield from (f"compose.yaml: {p}" for p in compose_problems(compose, folder, project_version(folder)))


def check_images(folder: Path) -> Iterator[str]:
    """The Dockerfiles keep our rules."""
    for path in sorted((folder / "images").glob("*.Dockerfile")):
        yield from (f"images/{path.name}: {p}" for p in dockerfile_problems(path, project_version(folder)))


def check_pools(folder: Path) -> Iterator[str]:
    """The work pools keep our rules, and the GPU one differs from the other in its defaults only."""
    templates = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "work-pools").glob("*.json"))}
    for name, template in templates.items():
        path = folder / "work-pools" / f"{name}.json"
        yield from (f"work-pools/{path.name}: {p}" for p in pool_problems(template, path, project_version(folder)))
    if not same_but_for_defaults(templates["kubernetes"], templates["kubernetes-gpu"]):
        yield "work-pools: kubernetes.json and kubernetes-gpu.json differ in more than the defaults of their variables"


def check_kustomizations(folder: Path) -> Iterator[str]:
    """Whatever a kustomization names exists; the secrets are those that make_secrets.py writes."""
    for path in sorted(folder.rglob("kustomization.yaml")):
        (content,) = read_yaml(path)
        where = path.relative_to(folder)
        for name in content.get("resources", []):
            if not (path.parent / name).exists():
                yield f"{where}: {name} does not exist"
        for generator in [*content.get("configMapGenerator", []), *content.get("secretGenerator", [])]:
            for name in generator["files"]:
                if not (path.parent / name).exists() and name not in (*NAMES, *YOURS):
                    yield f"{where}: {name} does not exist and infra/make_secrets.py does not write it"


def check_kubernetes(folder: Path) -> Iterator[str]:
    """Both overlays, rendered, keep our rules; the servers' variables are those of compose.yaml."""
    (compose,) = read_yaml(folder / "compose.yaml")
    for overlay in OVERLAYS:
        objects = render(folder, overlay)
        problems = [*kubernetes_problems(objects, project_version(folder)), *drift(objects, compose)]
        yield from (f"kubernetes/overlays/{overlay}: {problem}" for problem in problems)


def drift(objects: list[dict[str, Any]], compose: dict[str, Any]) -> Iterator[str]:
    """Variables of the servers that differ between Kubernetes and compose.yaml."""
    for item in objects:
        name, template = item["metadata"]["name"], pod_of(item)
        if template is None or name not in {"postgres", "store", "mlflow", "prefect", "bootstrap", "backup"}:
            continue
        here = variables(template["spec"]["containers"][0])
        there = compose["services"][name]["environment"]
        quiet = {"DVC_NO_ANALYTICS", "HF_HUB_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"}
        quiet.add("PREFECT_SERVER_ANALYTICS_ENABLED")
        for variable in sorted(set(here) | set(there) - (quiet - set(here))):
            if here.get(variable) != there.get(variable):
                yield f"{name}: {variable} is {here.get(variable)!r} here and {there.get(variable)!r} in compose.yaml"


def render(folder: Path, overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay, with throw-away secrets. Raises ToolMissingError without kubectl or kustomize."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "infra"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("backups", *NAMES, *YOURS, "*.old"))
        make_secrets(copy / "secrets")
        target = str(copy / "kubernetes/overlays" / overlay)
        if shutil.which("kustomize"):
            output = _run(["kustomize", "build", target])
        elif shutil.which("kubectl"):
            output = _run(["kubectl", "kustomize", target])
        else:
            raise ToolMissingError("neither kustomize nor kubectl is installed: overlays not rendered")
    return load_all(output)


# ---------------------------------------------------------------- schemas and linters of others


def check_compose_schema(folder: Path) -> Iterator[str]:
    """compose.yaml against the Compose Specification's schema."""
    yield from _lint(
        [_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(folder / "compose.yaml")]
    )


def check_compose_engine(folder: Path) -> Iterator[str]:
    """compose.yaml as docker compose itself reads it."""
    docker = _tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        raise ToolMissingError("the docker client has no compose plugin")
    yield from _lint([docker, "compose", "--file", str(folder / "compose.yaml"), "config", "--quiet"])


def check_kubernetes_schema(folder: Path) -> Iterator[str]:
    """Rendered objects and the jobs of the Kubernetes pools against the API's schemas."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        raise ToolMissingError("kubernetes-validate is not installed")
    import kubernetes_validate

    jobs = [_job_of(folder / "work-pools" / name) for name in ("kubernetes.json", "kubernetes-gpu.json")]
    for item in [*jobs, *(item for overlay in OVERLAYS for item in render(folder, overlay))]:
        try:
            kubernetes_validate.validate(item, KUBERNETES_VERSION, strict=True)
        except kubernetes_validate.ValidationError as problem:
            where = ".".join(str(part) for part in problem.path)
            yield f"{item['kind']} {item['metadata'].get('name', 'of a pool')}: {where}: {problem.message}"


def _job_of(path: Path) -> dict[str, Any]:
    """The Job a base job template makes from its defaults."""
    template = json.loads(path.read_text(encoding="utf-8"))
    defaults = {k: v.get("default") for k, v in template["variables"]["properties"].items()}
    values = {**defaults, "name": "job", "labels": {}, "annotations": {}, "env": [], "command": [], "repository": "git"}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        if isinstance(value, str) and value.startswith("{{") and value.endswith("}}"):
            return values[value.strip("{} ")]
        return value.replace("{{ name }}", "job") if isinstance(value, str) else value

    job: dict[str, Any] = fill(template["job_configuration"]["job_manifest"])
    for misplaced in ("completions", "parallelism"):  # Prefect insists on these two in the pod; the API ignores them
        job["spec"]["template"]["spec"].pop(misplaced)
    return job


def check_dockerfiles_hadolint(folder: Path) -> Iterator[str]:
    """The Dockerfiles through hadolint."""
    yield from _lint([_tool("hadolint"), *map(str, sorted((folder / "images").glob("*.Dockerfile")))])


def check_scripts(folder: Path) -> Iterator[str]:
    """The shell scripts through shellcheck."""
    yield from _lint([_tool("shellcheck"), *map(str, sorted(folder.rglob("*.sh")))])


def _tool(name: str) -> str:
    """A program beside this Python or on PATH. Raises ToolMissingError."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        raise ToolMissingError(f"{name} is not installed")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ValueError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def _lint(command: list[str]) -> Iterator[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        yield from (line for line in (done.stdout + done.stderr).splitlines() if line.strip())


CHECKS: dict[str, Callable[[Path], Iterator[str]]] = {
    "syntax": check_syntax,
    "compose rules": check_compose,
    "image rules": check_images,
    "work pool rules": check_pools,
    "kustomizations": check_kustomizations,
    "kubernetes rules": check_kubernetes,
    "compose schema": check_compose_schema,
    "docker compose config": check_compose_engine,
    "kubernetes schemas": check_kubernetes_schema,
    "hadolint": check_dockerfiles_hadolint,
    "shellcheck": check_scripts,
}


def outcomes(folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """For every check: its name, "ok", "left out" or "FAILED", and its problems (or why it was left out)."""
    for name, check in CHECKS.items():
        try:
            problems = list(check(folder))
        except ToolMissingError as reason:
            yield name, "left out", [str(reason)]
        except (ValueError, KeyError, TypeError) as problem:  # a file that parses but has not the shape we read
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
