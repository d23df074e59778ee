"""The cluster's deployments: those of prefect.yaml under other names, in another pool, in a clone."""

import pytest
import yaml

from infra.bootstrap import POOLS, read_pools
from infra.cluster_deployments import cluster_deployments, main
from tests.infra.local_stack import INFRA, REPOSITORY

PROJECT = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())


def test_only_name_pool_and_place_differ() -> None:
    made = cluster_deployments(PROJECT, "kubernetes-gpu", "https://git.example.invalid/foundry.git")
    cluster = {each["name"]: each for each in made["deployments"]}
    assert set(cluster) == {
        "cluster-nightly",
        "cluster-on-demand",
        "cluster-weekly",
        "cluster-promote",
        "cluster-rollback",
        "cluster-evaluate",
        "cluster-monitor",
        "cluster-update",
    }
    pool = {"name": "kubernetes-gpu", "job_variables": {"repository": "https://git.example.invalid/foundry.git"}}
    for local in PROJECT["deployments"]:
        if local["name"] != "sweep":
            there = cluster[f"cluster-{local['name']}"]
            assert there == {**local, "name": there["name"], "work_pool": pool}
    assert made["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/project"}}]
    assert "pull" not in PROJECT


def test_the_work_pools_that_are_named_exist() -> None:
    assert {each["work_pool"]["name"] for each in PROJECT["deployments"]} <= set(read_pools(POOLS))
    commands = str(yaml.safe_load((INFRA / "compose.yaml").read_text())["services"])
    assert "'--pool', 'process'" in commands


def test_without_a_server_nothing_is_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main(["--pool", "kubernetes", "--repository", "https://git.example.invalid/foundry.git"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: cluster_deployments: PREFECT_API_URL is not set")
