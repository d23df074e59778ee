"""Prefect's base job templates: every placeholder declared, pinned images, the rules of pods and services inside."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.rules.common import image_problems, secret_files, variable_problems
from infra.rules.pods import pod_problems

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def pool_problems(template: dict[str, Any], path: Path, version: str) -> Iterator[str]:
    """Every problem of one base job template; its type is the first word of the file's name."""
    job, declared = template["job_configuration"], template["variables"]["properties"]
    used = set(_PLACEHOLDER.findall(str(job)))
    for name in sorted(used - set(declared)):
        yield f"uses {{{{ {name} }}}}, which is no variable"
    for name in sorted(set(declared) - used - {"env"}):
        yield f"variable {name} does nothing"
    if "default" in declared.get("image", {}):
        yield from image_problems(declared["image"]["default"], version)
    yield from variable_problems(job["env"])
    for variable, value in {"DO_NOT_TRACK": "true", "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json"}.items():
        if job["env"].get(variable) != value:
            yield f"needs the variable {variable}: {value}"
    kind = path.stem.split("-")[0]
    if kind == "docker":
        yield from _docker(job, declared)
    if kind == "kubernetes":
        yield from _kubernetes(job, version)


def _docker(job: dict[str, Any], declared: dict[str, Any]) -> Iterator[str]:
    options = job.get("container_create_kwargs", {})
    if options.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in options.get("security_opt", []):
        yield "containers keep privileges; set cap_drop and security_opt in container_create_kwargs"
    if declared.get("user", {}).get("default", "0").split(":")[0] in {"0", "root"}:
        yield "containers run as root; give the variable user another default"
    if job.get("privileged"):
        yield "containers may be privileged"
    mounts = {str(volume).split(":")[1] for volume in declared["volumes"]["default"]}
    for name in sorted(secret_files(job["env"])):
        if f"/run/secrets/{name}" not in mounts:
            yield f"reads /run/secrets/{name}, which is not mounted"


def _kubernetes(job: dict[str, Any], version: str) -> Iterator[str]:
    template = job["job_manifest"]["spec"]["template"]
    pod = template["spec"]
    yield from pod_problems(pod, version, long_lived=False)
    # Prefect puts its own app.kubernetes.io/name on the pod, so the network policies select by ours.
    if template["metadata"]["labels"].get("foundry/component") != "job":
        yield "pods lack the label foundry/component: job, by which the network policies know them"
    held = {item["path"] for volume in pod["volumes"] if "secret" in volume for item in volume["secret"]["items"]}
    for name in sorted(secret_files(job["env"]) - held):
        yield f"reads /run/secrets/{name}, which no volume holds"


def same_but_for_defaults(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two templates differ in nothing but the defaults of their variables."""

    def bare(template: dict[str, Any]) -> dict[str, Any]:
        properties = template["variables"]["properties"]
        plain = {name: {k: v for k, v in each.items() if k != "default"} for name, each in properties.items()}
        return {**template, "variables": {**template["variables"], "properties": plain}}

    return bare(first) == bare(second)
