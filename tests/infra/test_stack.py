"""The servers of compose.yaml, run on loopback: what they refuse, and that a run, its artifact and data get through."""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from infra.bootstrap import POOLS, read_pools, work_pool
from infra.make_secrets import make_secrets
from tests.flows.conftest import make_toy
from tests.infra.local_stack import REPOSITORY, LocalStack, status

pytestmark = pytest.mark.timeout(900)


def basic(account: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}


def post(stack: LocalStack, path: str, body: dict[str, Any]) -> Any:
    """A call to Prefect's API with its password."""
    headers = {**basic(stack.secret("prefect_auth")), "Content-Type": "application/json"}
    request = urllib.request.Request(stack.url("prefect") + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def run_client(stack: LocalStack, folder: Path, *command: str) -> str:
    """Run a program with the worker's variables; returns its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **stack.client_environment(), "PYTHONPATH": str(REPOSITORY), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def s3(stack: LocalStack) -> Any:
    import boto3

    env = stack.client_environment()
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL_S3"],
        region_name=env["AWS_DEFAULT_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )


def objects(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_says_which_database_it_runs_on(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    if stack.database == "sqlite":
        with capsys.disabled():
            print("\nno Postgres programs on this machine: the stack runs on sqlite")
    assert (stack.folder / "postgres").exists() == (stack.database == "postgres")


def test_mlflow_needs_a_password(stack: LocalStack) -> None:
    url = stack.url("mlflow") + "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(url) == 401
    assert status(url, basic("admin:password1234")) == 401
    assert status(url, basic(f"pipeline:{stack.secret('mlflow_pipeline_password')}")) == 200


def test_pipeline_is_no_administrator_of_mlflow(stack: LocalStack) -> None:
    url = stack.url("mlflow") + "/api/2.0/mlflow/users/get?username=admin"
    assert status(url, basic(f"pipeline:{stack.secret('mlflow_pipeline_password')}")) == 403
    assert status(url, basic(f"admin:{stack.secret('mlflow_admin_password')}")) == 200


def test_mlflow_refuses_a_foreign_host_name(stack: LocalStack) -> None:
    account = basic(f"pipeline:{stack.secret('mlflow_pipeline_password')}")
    url = stack.url("mlflow") + "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(url, {**account, "Host": "evil.example"}) == 403


def test_prefect_needs_a_password(stack: LocalStack) -> None:
    url = stack.url("prefect") + "/api/work_pools/process"
    assert status(url) == 401
    assert status(url, basic("admin:admin")) == 401
    assert status(url, basic(stack.secret("prefect_auth"))) == 200


def test_bootstrap_made_the_pools_and_can_run_again(stack: LocalStack) -> None:
    output = stack.run_service("bootstrap")
    assert "buckets: already there" in output
    assert "account pipeline has the current password" in output
    pools = {pool["name"]: pool for pool in post(stack, "/api/work_pools/filter", {})}
    assert {"process", "docker"} <= set(pools)
    assert pools["docker"]["base_job_template"] == work_pool(read_pools(POOLS), "docker")["base_job_template"]


def test_a_run_reaches_mlflow_and_its_artifact_the_store(stack: LocalStack, s3: Any, tmp_path: Path) -> None:
    script = tmp_path / "log_run.py"
    script.write_text(
        "import mlflow, pathlib\n"
        "mlflow.set_experiment('stack')\n"
        "pathlib.Path('weights.bin').write_bytes(bytes(range(256)) * 64)\n"
        "with mlflow.start_run() as run:\n"
        "    mlflow.log_metric('loss', 0.5)\n"
        "    mlflow.log_artifact('weights.bin', 'adapter')\n"
        "path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path='adapter/weights.bin')\n"
        "assert pathlib.Path(path).read_bytes() == bytes(range(256)) * 64\n"
        "print(run.info.run_id)\n"
    )
    run_id = run_client(stack, tmp_path, sys.executable, str(script)).split()[-1]
    assert any(key.endswith(f"{run_id}/artifacts/adapter/weights.bin") for key in objects(s3, "mlflow"))


def test_dvc_data_goes_to_the_store_and_comes_back(stack: LocalStack, s3: Any, tmp_path: Path) -> None:
    dvc = (sys.executable, "-m", "dvc")
    data = tmp_path / "pairs.txt"
    data.write_text("query\tdocument\n")
    run_client(stack, tmp_path, "git", "init", "--quiet")
    run_client(stack, tmp_path, *dvc, "init", "--quiet")
    run_client(stack, tmp_path, *dvc, "remote", "add", "--default", "store", "s3://dvc/cache")
    run_client(stack, tmp_path, *dvc, "add", "--quiet", "pairs.txt")
    run_client(stack, tmp_path, *dvc, "push", "--quiet")
    assert any(key.startswith("cache/files/md5/") for key in objects(s3, "dvc"))
    config = (tmp_path / ".dvc/config").read_text()
    assert stack.secret("store_secret_key") not in config
    data.unlink()
    subprocess.run(["rm", "-r", str(tmp_path / ".dvc/cache")], check=True)
    run_client(stack, tmp_path, *dvc, "pull", "--quiet")
    assert data.read_text() == "query\tdocument\n"


def test_a_flow_run_is_recorded(stack: LocalStack, tmp_path: Path) -> None:
    script = tmp_path / "tiny.py"
    script.write_text("from prefect import flow\n@flow\ndef tiny() -> int:\n    return 7\ntiny()\n")
    run_client(stack, tmp_path, sys.executable, str(script))
    runs = post(stack, "/api/flow_runs/filter", {"flows": {"name": {"any_": ["tiny"]}}})
    assert [run["state"]["type"] for run in runs] == ["COMPLETED"]
    if stack.database == "postgres":
        done = subprocess.run(
            ["psql", "--tuples-only", "--no-align", "--command", "SELECT count(*) FROM flow_run", "prefect"],
            env={**stack.postgres_environment(), "PGPASSWORD": stack.secret("postgres_password")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) >= 1


def test_the_pipeline_and_a_promotion_go_through_the_servers(
    stack: LocalStack, s3: Any, trained: Path, tmp_path: Path
) -> None:
    """The toy's four stages as a flow; then a real (tiny) model: registered, gated, promoted, loaded from the store."""
    toy = make_toy(tmp_path / "toy")
    said = run_client(stack, toy, sys.executable, "-m", "flows.cli", "pipeline")
    assert [line.split() for line in said.splitlines()] == [
        [stage, "executed"] for stage in ("source", "left", "right", "join")
    ]
    assert any(key.endswith("artifacts/metrics.json") for key in objects(s3, "mlflow"))
    assert {
        line.split()[1] for line in run_client(stack, toy, sys.executable, "-m", "flows.cli", "pipeline").splitlines()
    } == {"unchanged"}

    root = tmp_path / "trained"
    shutil.copytree(trained, root, symlinks=True)
    run_client(stack, root, sys.executable, "-m", "flows.cli", "stage", "register")
    said = run_client(stack, root, sys.executable, "-m", "flows.cli", "promote", "--because", "it is better")
    assert "version 1 is in production, before: base" in said
    assert stack.url("mlflow") in said, "the page of the version"
    load = "from components.tracking.load import load_production as load; print(load().encode_document(['x']).shape)"
    assert run_client(stack, root, sys.executable, "-c", load).startswith("(1, ")
    runs = post(stack, "/api/flow_runs/filter", {"flows": {"name": {"any_": ["pipeline", "promotion"]}}})
    assert [run["state"]["type"] for run in runs] == ["COMPLETED"] * 3


def test_the_clusters_deployments_are_accepted(stack: LocalStack) -> None:
    """`prefect deploy` imports every flow, so a wrong entry point or parameter fails here."""
    bootstrap = str(stack.folder / "opt/bootstrap.py")
    stack.run_service("bootstrap", sys.executable, bootstrap, "pools:kubernetes,kubernetes-gpu")
    repository = "https://git.example.invalid/foundry.git"
    deploy = (sys.executable, "-m", "infra.cluster_deployments", "--pool", "kubernetes-gpu", "--repository", repository)
    run_client(stack, REPOSITORY, *deploy)
    found = {each["name"]: each for each in post(stack, "/api/deployments/filter", {})}
    nightly = found["cluster-nightly"]
    assert nightly["work_pool_name"] == "kubernetes-gpu"
    assert nightly["job_variables"] == {"repository": repository}
    assert nightly["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    assert nightly["pull_steps"][0]["prefect.deployments.steps.set_working_directory"]["directory"] == "/project"


def test_servers_write_only_where_compose_lets_them(stack: LocalStack) -> None:
    """Their root file systems are read-only: a file in the working folder would be a crash in a container."""
    left = [path for name in ("mlflow", "prefect") for path in (stack.folder / "work" / name).rglob("*")]
    assert left == []


def test_secrets_are_on_no_command_line_and_in_no_log(stack: LocalStack) -> None:
    secrets = {path.name: path.read_text() for path in stack.secrets.iterdir() if path.suffix != ".pem"}
    for name, process in stack.processes.items():
        if name == "store":  # moto is not what infra/ runs, and logs whole requests
            continue
        seen = Path(f"/proc/{process.pid}/cmdline").read_text() + (stack.folder / f"{name}.log").read_text()
        assert [secret for secret, text in secrets.items() if text and text in seen] == [], name


def test_a_rotated_administrator_password_takes_over(stack: LocalStack) -> None:
    """Last of the MLflow tests: it changes the password that the ones above use."""
    url = stack.url("mlflow") + "/api/2.0/mlflow/users/get?username=admin"
    make_secrets(stack.secrets, ("mlflow_admin_password", "mlflow_pipeline_password"))
    old, new = stack.secret("mlflow_admin_password.old"), stack.secret("mlflow_admin_password")
    with pytest.raises(RuntimeError, match="MLflow answered 401"):
        stack.run_service("bootstrap")
    environment = stack.environment("bootstrap")
    try:
        stack.compose["services"]["bootstrap"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD_OLD"] = old
        assert "administrator's password rotated" in stack.run_service("bootstrap")
    finally:
        del stack.compose["services"]["bootstrap"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD_OLD"]
    assert stack.environment("bootstrap") == environment
    assert status(url, basic(f"admin:{old}")) == 401
    assert status(url, basic(f"admin:{new}")) == 200
    search = stack.url("mlflow") + "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(search, basic(f"pipeline:{stack.secret('mlflow_pipeline_password')}")) == 200
