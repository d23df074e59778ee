"""Deploy the flows of prefect.yaml to a work pool of a Kubernetes cluster, each under the name cluster-NAME.

    python -m infra.cluster_deployments --pool kubernetes-gpu --repository https://git.example.com/embedding-foundry.git

Needs PREFECT_API_URL and PREFECT_API_AUTH_STRING. A job runs in a fresh clone of the repository (work-pools.yaml), so
`sweep`, which repairs a checkout that runs share, is not deployed. infra/images/remote_run.sh moves data and commits
for every flow, so no deployment needs the pipeline's parameter `share`: that is for other pools without a disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
CHECKOUT_ONLY = "sweep"


def cluster_deployments(project: dict[str, Any], pool: str, repository: str) -> dict[str, Any]:
    """prefect.yaml's content with its deployments renamed and moved to `pool`, whose jobs clone `repository`."""
    work_pool = {"name": pool, "job_variables": {"repository": repository}}
    deployments = [
        {**deployment, "name": f"cluster-{deployment['name']}", "work_pool": work_pool}
        for deployment in project["deployments"]
        if deployment["name"] != CHECKOUT_ONLY
    ]
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": "/project"}}]
    return {**project, "pull": pull, "deployments": deployments}


def main(arguments: list[str]) -> int:
    """Run `prefect deploy`; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.cluster_deployments", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--pool", required=True, help="work pool: kubernetes, kubernetes-gpu or kubernetes-nodes")
    parser.add_argument("--repository", required=True, help="git address that jobs clone and push refs/runs/* to")
    options = parser.parse_args(arguments)
    if not os.environ.get("PREFECT_API_URL"):
        print("error: cluster_deployments: PREFECT_API_URL is not set; name the cluster's server", file=sys.stderr)
        return 1
    project = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(cluster_deployments(project, options.pool, options.repository), file)
        file.flush()
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file.name]
        return subprocess.run(command, cwd=PROJECT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
