"""Create or update what the pipeline needs on the servers: S3 buckets, its MLflow account, Prefect work pools.

    python bootstrap.py [buckets] [mlflow-user] [pools:NAME,...]

Every step is idempotent, and `mlflow-user` also sets a rotated password. Runs as a one-shot service of compose.yaml and
as a Kubernetes job, configured by the servers' own environment variables:
MLFLOW_S3_ENDPOINT_URL and AWS_*; MLFLOW_TRACKING_URI, MLFLOW_AUTH_ADMIN_PASSWORD (and its _OLD), PIPELINE_PASSWORD;
PREFECT_API_URL and PREFECT_API_AUTH_STRING.
"""

import base64
import importlib
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BUCKETS = ("mlflow", "dvc")
PIPELINE_USER = "pipeline"
POOLS = Path(__file__).with_name("work-pools.yaml")


def make_buckets() -> str:
    """Create the missing buckets of BUCKETS."""
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    missing = [name for name in BUCKETS if name not in there]
    for name in missing:
        client.create_bucket(Bucket=name)
    return f"made {', '.join(missing)}" if missing else "already there"


def _call(method: str, url: str, account: str, body: dict[str, object] | None = None) -> int:
    """One JSON call with basic authentication (`account` is user:password); returns the HTTP status."""
    token = base64.b64encode(account.encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    try:
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as problem:
        return problem.code


def _mlflow(method: str, path: str, password: str, body: dict[str, object] | None = None) -> int:
    """One call to MLflow's account API as its administrator."""
    return _call(method, f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/users/{path}", f"admin:{password}", body)


def make_mlflow_user() -> str:
    """Create the pipeline's account or set its password; set a rotated administrator's password first."""
    admin, mine = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"], os.environ["PIPELINE_PASSWORD"]
    done = []
    status = _mlflow("GET", f"get?username={PIPELINE_USER}", admin)
    if status == 401 and (old := os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD_OLD")):
        change: dict[str, object] = {"username": "admin", "password": admin, "current_password": old}
        _expect_200(_mlflow("PATCH", "update-password", old, change), "admin")
        done.append("administrator's password rotated")
        status = _mlflow("GET", f"get?username={PIPELINE_USER}", admin)
    account: dict[str, object] = {"username": PIPELINE_USER, "password": mine}
    if status == 404:
        _expect_200(_mlflow("POST", "create", admin, account), PIPELINE_USER)
        done.append(f"account {PIPELINE_USER} made")
    else:
        _expect_200(status, "admin")
        _expect_200(_mlflow("PATCH", "update-password", admin, account), PIPELINE_USER)
        done.append(f"account {PIPELINE_USER} has the current password")
    return ", ".join(done)


def _expect_200(status: int, account: str) -> None:
    if status != 200:
        sys.exit(
            f"bootstrap: MLflow answered {status} for account {account}; "
            "is mlflow_admin_password the one MLflow was first started with (docs/operations.md, secrets)?"
        )


def make_pools(names: list[str]) -> str:
    """Create or update the work pools `names` of work-pools.yaml."""
    url, account = f"{os.environ['PREFECT_API_URL']}/work_pools/", os.environ["PREFECT_API_AUTH_STRING"]
    pools = read_pools(POOLS)
    for name in names:
        pool = work_pool(pools, name)
        status = _call("POST", url, account, pool)
        if status == 409:  # exists
            status = _call("PATCH", f"{url}{name}", account, {"base_job_template": pool["base_job_template"]})
        if status not in {200, 201, 204}:
            sys.exit(
                f"bootstrap: Prefect answered {status} for work pool {name}; is prefect_auth what it started with?"
            )
    return f"pools {', '.join(names)} are up to date"


def read_pools(file: Path) -> dict[str, Any]:
    """The section `pools` of work-pools.yaml."""
    import yaml

    pools: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["pools"]
    return pools


def work_pool(pools: dict[str, Any], name: str) -> dict[str, Any]:
    """Name, type and base job template of a work pool: the template of its worker, or of the pool it extends, changed.

    Raises:
        ModuleNotFoundError: the package of the worker is not installed.
    """
    pool = pools[name]
    if "extends" in pool:
        base = work_pool(pools, pool["extends"])
    else:
        base = {"type": pool["type"], "base_job_template": default_template(pool["type"])}
    return {**base, "name": name, "base_job_template": merge_patch(base["base_job_template"], pool["changes"])}


def default_template(worker_type: str) -> dict[str, Any]:
    """The base job template that comes with Prefect's worker of this type. Raises ModuleNotFoundError without it."""
    from prefect.utilities.dispatch import lookup_type
    from prefect.workers.base import BaseWorker

    try:
        importlib.import_module(
            "prefect.workers.process" if worker_type == "process" else f"prefect_{worker_type}.worker"
        )
    except ModuleNotFoundError as problem:
        raise ModuleNotFoundError(f"{problem}: pip install -c constraints.txt prefect-{worker_type}") from None
    template: dict[str, Any] = lookup_type(BaseWorker, worker_type).get_default_base_job_template()
    return template


def merge_patch(base: Any, changes: Any) -> Any:
    """`base` with a JSON merge patch (RFC 7386) applied.

    >>> merge_patch({"a": {"b": 1, "c": 2}, "d": [1, 2]}, {"a": {"b": None, "e": 3}, "d": [0]})
    {'a': {'c': 2, 'e': 3}, 'd': [0]}
    """
    if not isinstance(changes, dict):
        return changes
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def main(steps: list[str]) -> None:
    """Run the steps in the order given."""
    for step in steps:
        if step == "buckets":
            outcome = make_buckets()
        elif step == "mlflow-user":
            outcome = make_mlflow_user()
        elif step.startswith("pools:"):
            outcome = make_pools(step.removeprefix("pools:").split(","))
        else:
            sys.exit(f"bootstrap: unknown step {step!r}; steps are buckets, mlflow-user and pools:NAME,...")
        print(f"bootstrap: {step}: {outcome}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
