"""Bring fresh servers to the state the pipeline expects: buckets, the pipeline's MLflow account, work pools.

    python bootstrap.py [buckets] [mlflow-user] [pools:NAME,...]

Every step may be run again: it makes what is missing and updates what differs, so it is also how a rotated password
gets into MLflow. Runs as a one-shot service of compose and as a Kubernetes job, with the servers' own variables:
MLFLOW_S3_ENDPOINT_URL and AWS_*; MLFLOW_TRACKING_URI, MLFLOW_AUTH_ADMIN_PASSWORD (and its _OLD), PIPELINE_PASSWORD;
PREFECT_API_URL and PREFECT_API_AUTH_STRING.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

BUCKETS = ("mlflow", "dvc")
PIPELINE_USER = "pipeline"


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


def make_pools(names: list[str], folder: Path) -> str:
    """Create or update the work pools `names` from `folder`/NAME.json (Prefect's base job templates)."""
    pools, account = f"{os.environ['PREFECT_API_URL']}/work_pools/", os.environ["PREFECT_API_AUTH_STRING"]
    for name in names:
        template = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        new: dict[str, object] = {"name": name, "type": name.split("-")[0], "base_job_template": template}
        status = _call("POST", pools, account, new)
        if status == 409:  # it is there
            status = _call("PATCH", f"{pools}{name}", account, {"base_job_template": template})
        if status not in {200, 201, 204}:
            sys.exit(
                f"bootstrap: Prefect answered {status} for work pool {name}; is prefect_auth what it started with?"
            )
    return f"pools {', '.join(names)} are up to date"


def main(steps: list[str]) -> None:
    """Run the steps in the order given."""
    folder = Path(__file__).parent / "work-pools"
    for step in steps:
        if step == "buckets":
            outcome = make_buckets()
        elif step == "mlflow-user":
            outcome = make_mlflow_user()
        elif step.startswith("pools:"):
            outcome = make_pools(step.removeprefix("pools:").split(","), folder)
        else:
            sys.exit(f"bootstrap: unknown step {step!r}; steps are buckets, mlflow-user and pools:NAME,...")
        print(f"bootstrap: {step}: {outcome}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
