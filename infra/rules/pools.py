"""Rules for rendered work pools: every variable declared and used, pinned image, hardened jobs, secrets as files."""

import re
from collections.abc import Iterator
from typing import Any

from infra.rules.common import image_problems, missing_secrets, variable_problems
from infra.rules.hardening import violations
from infra.rules.kubernetes import mounted_secrets, pod_problems

_FOLDERS = ("HF_HOME",)  # on a volume of each platform's own
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def pool_problems(pool: dict[str, Any], clients: dict[str, str], version: str) -> Iterator[str]:
    """Every problem of one work pool.

    Args:
        pool: type and base job template, as infra/bootstrap.py sends them to Prefect.
        clients: the variables of the worker in compose.yaml; what a pool sets too must have the same value,
            but for _FOLDERS.
    """
    template = pool["base_job_template"]
    job, declared = template["job_configuration"], template["variables"]["properties"]
    used = set(_PLACEHOLDER.findall(str(job)))
    yield from (f"uses {{{{ {name} }}}}, which is no variable" for name in sorted(used - set(declared)))
    yield from (f"variable {name} does nothing" for name in sorted(set(declared) - used - {"env"}))
    if "image" in declared:
        yield from image_problems(declared["image"].get("default"), version)
    yield from variable_problems(job["env"])
    yield from violations("pool_environment", job["env"])
    for name, value in job["env"].items():
        if name not in _FOLDERS and clients.get(name, value) != value:
            yield f"{name} is {value!r} here and {clients[name]!r} in compose.yaml"
    if pool["type"] == "docker":
        yield from violations("docker_job", job)
        yield from violations("docker_variables", declared)
        mounts = [str(volume).split(":")[1] for volume in declared["volumes"]["default"]]
        yield from missing_secrets(job["env"], {mount.removeprefix("/run/secrets/") for mount in mounts})
    if pool["type"] == "kubernetes":
        pod = job["job_manifest"]["spec"]["template"]
        yield from pod_problems(pod["spec"], version)
        yield from missing_secrets(job["env"], mounted_secrets(pod["spec"]))
        if not job["env"].get("DVC_SITE_CACHE_DIR", "").startswith("/tmp/"):
            yield "DVC_SITE_CACHE_DIR is not below /tmp; DVC's default is on the root, which is read-only"
        # Prefect puts its own app.kubernetes.io/name on the pod, so the network policies select by ours.
        if pod["metadata"].get("labels", {}).get("foundry/component") != "job":
            yield "pods lack the label foundry/component: job, by which the network policies know them"
