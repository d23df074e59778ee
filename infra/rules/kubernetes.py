"""Kubernetes objects as Kustomize renders them: safe pods, references that exist, nothing open to the outside."""

from collections.abc import Iterator
from typing import Any

from infra.rules.common import secret_files
from infra.rules.pods import pod_problems, variables

_LONG_LIVED = {"Deployment", "StatefulSet"}


def pod_of(item: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template (metadata and spec) of a workload; None for any other object."""
    kind, spec = item["kind"], item.get("spec", {})
    if kind in {*_LONG_LIVED, "Job", "DaemonSet"}:
        template: dict[str, Any] = spec["template"]
        return template
    if kind == "CronJob":
        template = spec["jobTemplate"]["spec"]["template"]
        return template
    return None


def kubernetes_problems(objects: list[dict[str, Any]], version: str) -> Iterator[str]:
    """Every problem of a rendered overlay."""
    there = {(item["kind"], item["metadata"]["name"]) for item in objects}
    templates = {f"{item['kind']} {item['metadata']['name']}": (item, pod_of(item)) for item in objects}
    for label, (item, template) in templates.items():
        if template is None:
            continue
        pod = template["spec"]
        yield from (f"{label}: {problem}" for problem in pod_problems(pod, version, item["kind"] in _LONG_LIVED))
        yield from (f"{label}: {problem}" for problem in _references(pod, there, item))
        yield from (f"{label}: {problem}" for problem in _mounted_secrets(pod))
    labels = [template["metadata"].get("labels", {}) for _, template in templates.values() if template]
    for item in objects:
        yield from (f"{item['kind']} {item['metadata']['name']}: {problem}" for problem in _exposed(item, labels))
    if ("NetworkPolicy", "deny-all") not in there:
        yield "there is no NetworkPolicy deny-all: every pod may talk to every other"


def _references(pod: dict[str, Any], there: set[tuple[str, str]], item: dict[str, Any]) -> Iterator[str]:
    claims = {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
    names = {volume["name"] for volume in pod.get("volumes", [])} | claims
    wanted = [("ServiceAccount", pod["serviceAccountName"])] if "serviceAccountName" in pod else []
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            wanted.append(("ConfigMap", volume["configMap"]["name"]))
        if "secret" in volume:
            wanted.append(("Secret", volume["secret"]["secretName"]))
        if "persistentVolumeClaim" in volume:
            wanted.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    for kind, name in wanted:
        if (kind, name) not in there:
            yield f"refers to {kind} {name}, which does not exist"
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in names:
                yield f"mounts an unknown volume {mount['name']}"


def _mounted_secrets(pod: dict[str, Any]) -> Iterator[str]:
    """Files that the variables name but that no secret volume holds."""
    volumes = [volume["secret"] for volume in pod.get("volumes", []) if "secret" in volume]
    held = {entry["path"] for secret in volumes for entry in secret.get("items", [])}
    for container in pod["containers"]:
        for name in sorted(secret_files(variables(container)) - held):
            yield f"{container['name']}: reads /run/secrets/{name}, which no volume holds"


def _exposed(item: dict[str, Any], labels: list[dict[str, str]]) -> Iterator[str]:
    kind, spec = item["kind"], item.get("spec", {})
    if kind == "Service":
        if spec.get("type", "ClusterIP") != "ClusterIP":
            yield f"is a {spec['type']}, open to outside the cluster"
        if not any(spec["selector"].items() <= each.items() for each in labels):
            yield f"selects no pod: {spec['selector']}"
    if kind in {"ClusterRole", "ClusterRoleBinding"}:
        yield "grants rights in the whole cluster; use a Role"
    if kind == "Role" and any("*" in rule["verbs"] + rule["resources"] for rule in item["rules"]):
        yield "grants everything (*)"
