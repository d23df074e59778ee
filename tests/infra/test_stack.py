"""The servers of compose.yaml on loopback: what they refuse, and that a pipeline, its data and a promotion pass."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.bootstrap import POOLS, make_pools, read_pools, work_pool
from infra.make_secrets import make_secrets
from tests.command import foundry
from tests.infra.local_stack import REPOSITORY, LocalStack, running_stack, status
from tests.warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DVC = ("python", "-m", "dvc")


def basic(account: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}


def post(stack: LocalStack, path: str, body: dict[str, Any]) -> Any:
    """A call to Prefect's API with its password."""
    headers = {**basic(stack.secret("prefect_auth")), "Content-Type": "application/json"}
    request = urllib.request.Request(stack.url("prefect") + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def run_client(stack: LocalStack, folder: Path, *command: str) -> str:
    """Run a program with the worker's variables, forked with its imports done; returns its output."""
    path = f"{warm_python()}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **stack.client_environment(), "PYTHONPATH": str(REPOSITORY), "PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """The servers of compose.yaml on loopback, for this module only: they take memory and CPU while they wait."""
    folder = Path(tempfile.mkdtemp(prefix="foundry-stack-"))
    folder.chmod(0o755)  # pytest's own folders are closed to other users, and Postgres runs as one
    try:
        with running_stack(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)


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


@pytest.fixture(scope="module")
def ran(stack: LocalStack, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose pipeline (one real stage, on a tiny random model) ran as a flow against the servers."""
    root = tmp_path_factory.mktemp("ran") / "checkout"
    shutil.copytree(trained, root, symlinks=True)
    register = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["register"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"register": register}}))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\nremote = store\n['remote \"store\"']\nurl = s3://dvc/cache\n")
    said = run_client(stack, root, "python", "-m", "flows.cli", "pipeline")
    assert said.split() == ["register", "executed"]
    return root


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


@pytest.fixture(scope="module")
def kubernetes_pools(stack: LocalStack) -> None:
    """The pools of the Kubernetes job, as bootstrap makes them; docker's is there and is updated."""
    variables = stack.client_environment()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            patch.setenv(name, variables[name])
        make_pools(["docker", "kubernetes", "kubernetes-gpu", "kubernetes-nodes"])


@pytest.mark.usefixtures("kubernetes_pools")
def test_the_pools_are_those_of_the_file(stack: LocalStack) -> None:
    there = {pool["name"]: pool["base_job_template"] for pool in post(stack, "/api/work_pools/filter", {})}
    pools = read_pools(POOLS)
    assert there == {name: work_pool(pools, name)["base_job_template"] for name in pools}


def test_bootstrap_can_run_again(stack: LocalStack) -> None:
    script = str(stack.folder / "opt/bootstrap.py")
    output = stack.run_service("bootstrap", sys.executable, script, "buckets", "mlflow-user")
    assert "buckets: already there" in output
    assert "account pipeline has the current password" in output


@pytest.mark.usefixtures("ran")
def test_the_pipeline_is_recorded_by_prefect(stack: LocalStack) -> None:
    runs = post(stack, "/api/flow_runs/filter", {"flows": {"name": {"any_": ["pipeline"]}}})
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


@pytest.mark.usefixtures("ran")
def test_its_artifacts_are_in_the_store(s3: Any) -> None:
    names = {key.rpartition("/artifacts/")[2] for key in objects(s3, "mlflow")}
    assert {"metrics.json", "model/model.safetensors", "evaluation/scores.parquet"} <= names


def test_its_data_goes_to_the_store_and_comes_back(stack: LocalStack, s3: Any, ran: Path) -> None:
    run_client(stack, ran, *DVC, "push", "--quiet")
    assert any(key.startswith("cache/files/md5/") for key in objects(s3, "dvc"))
    reference = ran / "outputs/register/reference.json"
    before = reference.read_bytes()
    shutil.rmtree(ran / ".dvc/cache")
    shutil.rmtree(ran / "outputs/register")
    run_client(stack, ran, *DVC, "pull", "--quiet")
    assert reference.read_bytes() == before


def test_its_version_is_promoted(
    stack: LocalStack, ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gate, lock, alias and audit with the rights of the pipeline's account; the smoke test loads it from the store."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    monkeypatch.chdir(ran)
    variables = stack.client_environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = {each: variables[each.name] for each in (PREFECT_API_URL, PREFECT_API_AUTH_STRING, PREFECT_HOME)}
    EventsWorker.drain_all()  # one a process, bound to the first server it meets
    with temporary_settings(settings):
        assert foundry("promote", "--because", "it is better") == 0
        EventsWorker.drain_all()
    said = capsys.readouterr().out
    assert "version 1 is in production, before: base" in said
    assert stack.url("mlflow") in said.splitlines()[-1], "the page of the version"
    runs = post(stack, "/api/flow_runs/filter", {"flows": {"name": {"any_": ["promotion"]}}})
    assert [run["state"]["type"] for run in runs] == ["COMPLETED"]


@pytest.mark.usefixtures("kubernetes_pools")
def test_the_clusters_deployments_are_accepted(stack: LocalStack) -> None:
    """`prefect deploy` imports every flow, so a wrong entry point or parameter fails here."""
    repository = "https://git.example.invalid/foundry.git"
    deploy = ("python", "-m", "infra.cluster_deployments", "--pool", "kubernetes-gpu", "--repository", repository)
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
    step = (sys.executable, str(stack.folder / "opt/bootstrap.py"), "mlflow-user")
    with pytest.raises(RuntimeError, match="MLflow answered 401"):
        stack.run_service("bootstrap", *step)
    environment = stack.environment("bootstrap")
    try:
        stack.compose["services"]["bootstrap"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD_OLD"] = old
        assert "administrator's password rotated" in stack.run_service("bootstrap", *step)
    finally:
        del stack.compose["services"]["bootstrap"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD_OLD"]
    assert stack.environment("bootstrap") == environment
    assert status(url, basic(f"admin:{old}")) == 401
    assert status(url, basic(f"admin:{new}")) == 200
    search = stack.url("mlflow") + "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(search, basic(f"pipeline:{stack.secret('mlflow_pipeline_password')}")) == 200
