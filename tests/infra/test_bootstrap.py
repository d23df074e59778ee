"""work-pools.yaml as rendered: the worker's own template with our changes and nothing else."""

from typing import Any

import pytest
import yaml

from infra.bootstrap import POOLS, default_template, merge_patch, read_pools, work_pool
from tests.infra.local_stack import INFRA


def template(name: str) -> dict[str, Any]:
    made: dict[str, Any] = work_pool(read_pools(POOLS), name)["base_job_template"]
    return made


def defaults(name: str) -> dict[str, Any]:
    return {key: value.get("default") for key, value in template(name)["variables"]["properties"].items()}


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": {"e": 3}}}, {"a": {"c": 2, "d": {"e": 3}}}),
        ({"a": [1, 2], "b": "text"}, {"a": [3], "b": {"c": 1}}, {"a": [3], "b": {"c": 1}}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    ],
)
def test_a_merge_patch_is_that_of_rfc_7386(base: Any, changes: Any, expected: Any) -> None:
    before = repr(base)
    assert merge_patch(base, changes) == expected
    assert repr(base) == before


POOLS_OF_GPUS = ("kubernetes-gpu", "kubernetes-nodes")


@pytest.mark.slow
def test_the_types_of_the_pools() -> None:
    pools = read_pools(POOLS)
    types = {name: work_pool(pools, name)["type"] for name in pools}
    assert types == {
        "process": "process",
        "docker": "docker",
        "kubernetes": "kubernetes",
        "kubernetes-gpu": "kubernetes",
        "kubernetes-nodes": "kubernetes",
    }


def test_the_process_pool_adds_variables_to_the_workers_template() -> None:
    ours, theirs = template("process"), default_template("process")
    assert ours["variables"] == theirs["variables"]
    assert theirs["job_configuration"].pop("env") == "{{ env }}"
    assert ours["job_configuration"].pop("env")["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert ours["job_configuration"] == theirs["job_configuration"]


def test_a_docker_job_is_confined_whatever_a_deployment_asks_for() -> None:
    ours, theirs = template("docker"), default_template("docker")
    gone = {"container_create_kwargs", "network_mode", "privileged", "registry_credentials"}
    new = {"user", "nano_cpus", "shm_size", "device_requests"}
    assert set(ours["variables"]["properties"]) == set(theirs["variables"]["properties"]) - gone | new
    assert set(ours["job_configuration"]) == set(theirs["job_configuration"]) - gone | {"container_create_kwargs"}
    created = ours["job_configuration"]["container_create_kwargs"]
    assert created["cap_drop"] == ["ALL"]
    assert {name: created[name] for name in new} == {name: f"{{{{ {name} }}}}" for name in new}
    assert {name: defaults("docker")[name] for name in ("mem_limit", "memswap_limit", "auto_remove", "user")} == {
        "mem_limit": "16g",
        "memswap_limit": "16g",
        "auto_remove": True,
        "user": "10001:10001",
    }


def test_a_kubernetes_job_clones_the_repository_and_keeps_the_workers_fields() -> None:
    ours, theirs = template("kubernetes"), default_template("kubernetes")
    assert ours["variables"]["required"] == ["repository"]
    new = {"repository", "branch", "gpus", "scratch_size", "shm_size", "job_deadline_seconds"}
    theirs_kept = set(theirs["variables"]["properties"]) - {"cluster_config"}
    assert set(ours["variables"]["properties"]) == theirs_kept | new
    job, default = ours["job_configuration"]["job_manifest"], theirs["job_configuration"]["job_manifest"]
    assert job["metadata"] == default["metadata"]
    pod, default_pod = job["spec"]["template"]["spec"], default["spec"]["template"]["spec"]
    (clone,), (container,), (default_container,) = pod["initContainers"], pod["containers"], default_pod["containers"]
    assert clone["args"] == ["git", "clone", "--branch", "{{ branch }}", "{{ repository }}", "/project"]
    assert {key: container[key] for key in default_container if key != "resources"} == {
        key: value for key, value in default_container.items() if key != "resources"
    }
    assert container["resources"]["requests"] == default_container["resources"]["requests"]
    limits = {**default_container["resources"]["limits"], "nvidia.com/gpu": "{{ gpus }}"}
    assert container["resources"]["limits"] == limits
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert places["hub-cache"] == ours["job_configuration"]["env"]["HF_HOME"]  # outlives the pod
    (kept,) = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    claim = yaml.safe_load((INFRA / "kubernetes" / "base" / "hub-cache.yaml").read_text())["metadata"]["name"]
    assert (kept["name"], kept["persistentVolumeClaim"]) == ("hub-cache", {"claimName": claim})


@pytest.mark.slow
def test_the_gpu_pool_differs_in_nothing_but_defaults() -> None:
    plain, gpu = template("kubernetes"), template("kubernetes-gpu")
    assert plain["job_configuration"] == gpu["job_configuration"]
    changed = {
        name: value for name, value in defaults("kubernetes-gpu").items() if value != defaults("kubernetes")[name]
    }
    assert changed == {
        "image": defaults("kubernetes")["image"].replace("/cpu:", "/cuda:"),
        "cpu_request": "8",
        "cpu_limit": "16",
        "memory_request": "64Gi",
        "memory_limit": "128Gi",
        "gpus": 1,
        "scratch_size": "500Gi",
        "shm_size": "16Gi",
        "job_deadline_seconds": 7 * 86400,
    }


def test_the_nodes_pool_is_an_indexed_job_whose_pods_share_the_folder_of_their_run() -> None:
    gpu, nodes = (template(name)["job_configuration"]["job_manifest"]["spec"] for name in POOLS_OF_GPUS)
    assert {name: nodes[name] for name in ("completionMode", "completions", "parallelism", "backoffLimit")} == {
        "completionMode": "Indexed",
        "completions": "{{ nodes }}",
        "parallelism": "{{ nodes }}",
        "backoffLimit": 0,  # a pod that is lost ends the run: torchrun's restarts are for processes
    }
    assert defaults("kubernetes-nodes")["command"].startswith("several-nodes run remote-run ")
    pod, gpu_pod = nodes["template"]["spec"], gpu["template"]["spec"]
    (shared,) = [volume for volume in pod["volumes"] if volume["name"] == "project"]
    overlay = INFRA / "kubernetes" / "overlays" / "gpu"
    claim = yaml.safe_load((overlay / "runs.yaml").read_text())
    assert shared["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for container in (*pod["initContainers"], *pod["containers"]):
        (run,) = [entry for entry in container["env"] if entry["name"] == "FOUNDRY_RUN"]
        assert run["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
        assert {"name": "project", "mountPath": "/project", "subPathExpr": "$(FOUNDRY_RUN)"} in container[
            "volumeMounts"
        ]
    assert pod["containers"][0]["resources"] == gpu_pod["containers"][0]["resources"]  # `gpus` each
    policy = yaml.safe_load((overlay / "nodes-policy.yaml").read_text())["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    assert chosen.items() <= nodes["template"]["metadata"]["labels"].items()
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]


def test_a_worker_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(ModuleNotFoundError, match="prefect-ecs"):
        work_pool({"x": {"type": "ecs", "changes": {}}}, "x")
