"""The cluster's deployments are those of prefect.yaml but for the pool, so the two cannot drift apart."""

from typing import Any

import yaml

from tests.infra.local_stack import INFRA, REPOSITORY

ONLY_LOCAL = {"sweep"}  # a job on a cluster works in a clone of its own: nothing of others is there to sweep
TOLD_IN_ONE_PLACE = {"name", "work_pool", "description"}


def deployments(path: str) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((REPOSITORY / path).read_text())["deployments"]
    return {each["name"].removeprefix("cluster-"): each for each in found}


def test_the_clusters_deployments_are_the_same() -> None:
    local, cluster = deployments("prefect.yaml"), deployments("infra/kubernetes/prefect.yaml")
    assert set(local) - ONLY_LOCAL == set(cluster)
    for name, there in cluster.items():
        bare = {key: value for key, value in local[name].items() if key not in TOLD_IN_ONE_PLACE}
        assert {key: value for key, value in there.items() if key not in TOLD_IN_ONE_PLACE} == bare, name


def test_the_work_pools_that_are_named_exist() -> None:
    pools = {path.stem for path in (INFRA / "work-pools").glob("*.json")}
    assert {each["work_pool"]["name"] for each in deployments("prefect.yaml").values()} <= pools
    commands = str(yaml.safe_load((INFRA / "compose.yaml").read_text())["services"])
    assert "'--pool', 'process'" in commands
