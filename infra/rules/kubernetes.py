"""Rules for rendered Kubernetes objects: hardened pods, pinned images, secrets as files, references that exist."""

from collections.abc import Iterator
from typing import Any

from infra.rules.common import image_problems, missing_secrets, variable_problems
from infra.rules.hardening import violations

_LONG_LIVED = {"Deployment", "StatefulSet"}


def pod_of(item: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template (metadata and spec) of a workload; None for any other object."""
    if item["kind"] == "CronJob":
        item = item["spec"]["jobTemplate"]
    template: dict[str, Any] | None = item.get("spec", {}).get("template")
    return template


def kubernetes_problems(objects: list[dict[str, Any]], version: str) -> Iterator[str]:
    """Every problem of a rendered overlay."""
    there = {(item["kind"], item["metadata"]["name"]) for item in objects}
    labels = [template["metadata"].get("labels", {}) for template in map(pod_of, objects) if template]
    for item in objects:
        label = f"{item['kind']} {item['metadata']['name']}"
        yield from (f"{label}: {problem}" for problem in violations(item["kind"], item))
        if item["kind"] == "Service" and not any(item["spec"]["selector"].items() <= each.items() for each in labels):
            yield f"{label}: selects no pod: {item['spec']['selector']}"
        if template := pod_of(item):
            pod = template["spec"]
            yield from (f"{label}: {problem}" for problem in pod_problems(pod, version))
            yield from (f"{label}: {problem}" for problem in _references(pod, item, there))
            if item["kind"] in _LONG_LIVED:
                yield from (f"{label}: {problem}" for problem in violations("long_lived_pod", pod))
    if ("NetworkPolicy", "deny-all") not in there:
        yield "there is no NetworkPolicy deny-all: every pod may talk to every other"


def pod_problems(pod: dict[str, Any], version: str) -> Iterator[str]:
    """Every problem of a pod specification on its own: of a manifest, or of a work pool's job."""
    yield from violations("pod", pod)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        name, given = container["name"], variables(container)
        if "{{" not in container["image"]:
            yield from (f"{name}: {problem}" for problem in image_problems(container["image"], version))
        yield from (f"{name}: {problem}" for problem in variable_problems(given))
        yield from (f"{name}: {problem}" for problem in missing_secrets(given, mounted_secrets(pod)))


def variables(container: dict[str, Any]) -> dict[str, object]:
    """The plain variables of a container (those with valueFrom hold no text)."""
    given = container.get("env", [])
    return {each["name"]: each["value"] for each in given if "value" in each} if isinstance(given, list) else {}


def mounted_secrets(pod: dict[str, Any]) -> set[str]:
    """Names under /run/secrets that the pod's secret volumes hold."""
    secrets = [volume["secret"] for volume in pod.get("volumes", []) if "secret" in volume]
    return {entry["path"] for secret in secrets for entry in secret.get("items", [])}


def _references(pod: dict[str, Any], item: dict[str, Any], there: set[tuple[str, str]]) -> Iterator[str]:
    """Names of other objects and of volumes that do not exist; the API server accepts them and the pod never starts."""
    wanted = {("ServiceAccount", pod["serviceAccountName"])} if "serviceAccountName" in pod else set()
    for volume in pod.get("volumes", []):
        for key, kind, name in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if key in volume:
                wanted.add((kind, volume[key][name]))
    yield from (f"refers to {kind} {name}, which does not exist" for kind, name in sorted(wanted - there))
    claims = {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
    mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
    for name in sorted(mounted - claims - {volume["name"] for volume in pod.get("volumes", [])}):
        yield f"mounts an unknown volume {name}"
