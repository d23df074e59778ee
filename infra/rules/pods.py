"""Pod specifications, of the manifests and of the Kubernetes work pools: Kubernetes' `restricted`, and more."""

from collections.abc import Iterator
from typing import Any

from infra.rules.common import image_problems, variable_problems


def pod_problems(pod: dict[str, Any], version: str, long_lived: bool) -> Iterator[str]:
    """Every problem of a pod specification.

    Args:
        long_lived: whether something must watch its health (a Deployment or StatefulSet, not a job).
    """
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") in (None, 0):
        yield "may run as root; set securityContext.runAsNonRoot and a runAsUser"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile; set securityContext.seccompProfile.type: RuntimeDefault"
    if pod.get("serviceAccountName") != "worker" and pod.get("automountServiceAccountToken") is not False:
        yield "gets a token for the Kubernetes API; set automountServiceAccountToken: false"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"sets {key}"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a path of the node"
        if "secret" in volume and not volume["secret"].get("items"):
            yield f"volume {volume['name']} hands over every secret; list the items it needs"
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        probed = long_lived and container in pod["containers"]
        yield from (f"{container['name']}: {problem}" for problem in _container(container, version, probed))


def _container(container: dict[str, Any], version: str, probed: bool) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges; set securityContext.allowPrivilegeEscalation: false"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps kernel capabilities; set securityContext.capabilities.drop: [ALL]"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "has a writable root file system; set securityContext.readOnlyRootFilesystem: true"
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in container.get("resources", {}).get(kind, {}):
                yield f"has no resources.{kind}.{resource}"
    for probe in ("readinessProbe", "livenessProbe"):
        if probed and probe not in container:
            yield f"has no {probe}"
    if "{{" not in str(container["image"]):
        yield from image_problems(container["image"], version)
    yield from variable_problems(variables(container))


def variables(container: dict[str, Any]) -> dict[str, object]:
    """The plain variables of a container (those with valueFrom hold no text)."""
    given = container.get("env", [])
    return {each["name"]: each["value"] for each in given if "value" in each} if isinstance(given, list) else {}
