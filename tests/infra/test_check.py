"""infra/check.py passes on what is in the repository, and sees every kind of fault when a copy is broken."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import check
from infra.make_secrets import NAMES, YOURS
from tests.infra.local_stack import INFRA, REPOSITORY

needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")), reason="neither kubectl nor kustomize is installed"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of infra/ to break, with pyproject.toml above it as in the repository."""
    shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns("backups", *NAMES, *YOURS, "*.old"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path / "infra"


def broken(copy: Path, file: str, old: str, new: str) -> None:
    """Replace the first `old` in a file; the text must be there, or the test would test nothing."""
    path = copy / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def test_the_repository_passes(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {name: lines for name, outcome, lines in check.outcomes(INFRA) if outcome == "FAILED"}
    assert failed == {}


def test_a_tool_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(check.shutil, "which", lambda *_, **__: None)
    outcomes = {name: (outcome, lines) for name, outcome, lines in check.outcomes(INFRA)}
    assert outcomes["hadolint"] == ("left out", ["hadolint is not installed"])
    assert outcomes["kubernetes rules"][0] == "left out"
    assert outcomes["compose rules"] == ("ok", [])


def test_the_command_fails_when_a_rule_does(copy: Path) -> None:
    broken(copy, "compose.yaml", "127.0.0.1:4200:4200", "4200:4200")
    done = subprocess.run(
        [sys.executable, "-m", "infra.check", str(copy)], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "prefect: port 4200:4200 is open to the network" in done.stdout


COMPOSE = [
    ("user: \"999:999\"\n    networks", 'user: "0:0"\n    networks', "postgres: runs as root"),
    ('    user: "10001:10001"\n    command: [mlflow', "    command: [mlflow", "mlflow: runs as root"),
    ("postgres:17.6-bookworm", "postgres:latest", "postgres: image postgres:latest is not pinned"),
    ("postgres:17.6-bookworm", "postgres", "postgres: image postgres is not pinned"),
    ("embedding-foundry/server:0.1.0", "embedding-foundry/server:0.0.9", "should carry the version"),
    ("127.0.0.1:5000:5000", "5000:5000", "mlflow: port 5000:5000 is open"),
    ("127.0.0.1:7070:7070", "0.0.0.0:7070:7070", "store: port 0.0.0.0:7070:7070 is open"),
    ("cap_drop: [ALL]", "cap_drop: []", "postgres: keeps kernel capabilities"),
    ("no-new-privileges:true", "seccomp:unconfined", "may gain privileges"),
    ("  read_only: true\n", "", "store: has a writable root file system"),
    ("limits: {cpus: \"2\", memory: 2g}", "limits: {cpus: \"2\"}", "postgres: has no limit on memory"),
    ("MLFLOW_BACKEND_STORE_URI: postgresql+psycopg2://mlflow@", "MLFLOW_BACKEND_STORE_URI: postgresql://mlflow:pw@",
     "mlflow: MLFLOW_BACKEND_STORE_URI has a password"),
    ("POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password", "POSTGRES_PASSWORD: hunter2",
     "postgres: POSTGRES_PASSWORD is a secret as text"),
    ("secrets: [prefect_db_password, prefect_auth]", "secrets: [prefect_auth]",
     "prefect: reads /run/secrets/prefect_db_password but does not list"),
    ("--app-name, basic-auth, ", "", "mlflow: does not ask for a password"),
    ('MLFLOW_ALLOW_PICKLE_DESERIALIZATION: "false"\n      MLFLOW_SERVER', 'MLFLOW_SERVER',
     "mlflow: needs MLFLOW_ALLOW_PICKLE_DESERIALIZATION: false"),
    ("MLFLOW_SERVER_ALLOWED_HOSTS: mlflow:5000,", "MLFLOW_SERVER_ALLOWED_HOSTS: mlflow:*,",
     "allows every host name"),
    ("PREFECT_SERVER_API_AUTH_STRING_FILE", "PREFECT_SERVER_API_AUTH_FILE", "prefect: needs PREFECT_SERVER_API_AUTH"),
    ("PREFECT_RESULTS_DEFAULT_SERIALIZER: json", "PREFECT_RESULTS_DEFAULT_SERIALIZER: pickle",
     "worker: needs PREFECT_RESULTS_DEFAULT_SERIALIZER: json"),
    ('DO_NOT_TRACK: "true"', 'DO_NOT_TRACK: "1"', "mlflow: sends telemetry"),
    ("backend: {internal: true}", "backend: {}", "network backend is not internal"),
    ("networks: [backend]", "networks: [backend, edge]", "postgres: belongs on network backend only"),
    ("{file: ./secrets/prefect_auth}", "{file: ../prefect_auth}", "secret prefect_auth is not one that"),
    ("      - ./postgres/roles.sh:", "      - ./postgres/roles2.sh:", "mounts ./postgres/roles2.sh, which does not"),
    ("store-data:/data", "stores-data:/data", "store: uses an undeclared volume stores-data"),
    ("      - ./postgres/roles.sh", "      - /var/run/docker.sock:/var/run/docker.sock\n      - ./postgres/roles.sh",
     "postgres: mounts the Docker socket"),
    ("    restart: \"no\"\n    user", "    user", "bootstrap: has no healthcheck"),
    ("store: {condition: service_healthy}", "shop: {condition: service_healthy}", "depends on an unknown service shop"),
    ("dockerfile: infra/images/store.Dockerfile", "dockerfile: infra/images/shop.Dockerfile", "which does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), COMPOSE, ids=[problem for _, _, problem in COMPOSE])
def test_faults_in_compose_are_seen(copy: Path, old: str, new: str, problem: str) -> None:
    broken(copy, "compose.yaml", old, new)
    assert any(problem in line for line in check.check_compose(copy)), list(check.check_compose(copy))


IMAGES = [
    ("cpu.Dockerfile", "FROM python:3.11.14-slim-bookworm", "FROM python", "image python is not pinned"),
    ("cpu.Dockerfile", "USER 10001:10001", "USER root", "ends as root"),
    ("cuda.Dockerfile", "USER 10001:10001\n", "", "ends as root"),
    ("store.Dockerfile", "USER 10001:10001", "USER foundry", "USER foundry is a name"),
    ("server.Dockerfile", " -c /tmp/constraints.txt", "", "pip install without -c constraints.txt"),
    ("server.Dockerfile", "WORKDIR", "RUN curl -fsSL https://example.invalid/x | sh\nWORKDIR", "pipes a download"),
    ("cpu.Dockerfile", "COPY . .", "ADD . .", "ADD fetches and unpacks"),
    ("cpu.Dockerfile", 'ARG PIP_EXTRA_INDEX_URL=""', 'ARG HF_TOKEN=""', "would leave a secret"),
]


@pytest.mark.parametrize(("file", "old", "new", "problem"), IMAGES, ids=[problem for *_, problem in IMAGES])
def test_faults_in_dockerfiles_are_seen(copy: Path, file: str, old: str, new: str, problem: str) -> None:
    broken(copy, f"images/{file}", old, new)
    assert any(f"images/{file}: " in line and problem in line for line in check.check_images(copy))


POOLS = [
    ("docker.json", '"{{ mem_limit }}"', '"{{ memory }}"', "uses {{ memory }}, which is no variable"),
    ("docker.json", '"{{ mem_limit }}"', '"1g"', "variable mem_limit does nothing"),
    ("docker.json", "embedding-foundry/cpu:0.1.0", "embedding-foundry/cpu", "is not pinned"),
    ("docker.json", '"default": "10001:10001"', '"default": "0:0"', "containers run as root"),
    ("docker.json", '"ALL"', '"NET_RAW"', "containers keep privileges"),
    (
        "docker.json",
        "./infra/secrets/prefect_auth:/run/secrets/prefect_auth:ro",
        "./a:/b",
        "prefect_auth, which is not",
    ),
    ("process.json", '"json"', '"pickle"', "PREFECT_RESULTS_DEFAULT_SERIALIZER: json"),
    ("kubernetes.json", '"runAsNonRoot": true', '"runAsNonRoot": false', "may run as root"),
    ("kubernetes.json", '"foundry/component": "job"', '"foundry/component": "x"', "pods lack the label"),
    ("kubernetes.json", '"readOnlyRootFilesystem": true', '"readOnlyRootFilesystem": false', "writable root"),
    ("kubernetes.json", '"path": "store_access_key"', '"path": "other"', "store_access_key, which no volume holds"),
    ("kubernetes-gpu.json", '"nvidia.com/gpu": "{{ gpus }}"', '"amd.com/gpu": "{{ gpus }}"', "differ in more than"),
    ("kubernetes.json", '"MLFLOW_TRACKING_PASSWORD_FILE"', '"MLFLOW_TRACKING_PASSWORD"', "is a secret as text"),
]


@pytest.mark.parametrize(("file", "old", "new", "problem"), POOLS, ids=[problem for *_, problem in POOLS])
def test_faults_in_work_pools_are_seen(copy: Path, file: str, old: str, new: str, problem: str) -> None:
    broken(copy, f"work-pools/{file}", old, new)
    assert any(problem in line for line in check.check_pools(copy)), list(check.check_pools(copy))


KUBERNETES = [
    ("base/mlflow.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "Deployment mlflow: may run as root"),
    ("base/mlflow.yaml", "type: RuntimeDefault", "type: Unconfined", "has no seccomp profile"),
    ("base/mlflow.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "gets a token"),
    ("base/store.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "store: may gain"),
    ("base/store.yaml", "drop: [ALL]", "drop: [NET_RAW]", "store: keeps kernel capabilities"),
    ("base/store.yaml", "embedding-foundry/store:0.1.0", "minio/minio:latest", "store: image minio/minio:latest"),
    ("base/prefect.yaml", "limits: {cpu: \"2\", memory: 2Gi}", "limits: {cpu: \"2\"}", "no resources.limits.memory"),
    ("base/prefect.yaml", "livenessProbe:", "lifecycle:", "prefect: has no livenessProbe"),
    ("base/prefect.yaml", "{name: tmp, emptyDir: {}}", "{name: tmp, hostPath: {path: /tmp}}", "is a path of the node"),
    ("base/postgres.yaml", "value: /run/secrets/postgres_password", "value: hunter2", "is a secret as text"),
    ("base/postgres.yaml", "path: postgres_password}", "path: other}", "which no volume holds"),
    ("base/mlflow.yaml", "kind: Service\nmetadata:\n  name: mlflow\nspec:\n",
     "kind: Service\nmetadata:\n  name: mlflow\nspec:\n  type: NodePort\n", "is a NodePort"),
    ("base/mlflow.yaml", "selector: {foundry/component: mlflow}", "selector: {foundry/component: x}", "selects no pod"),
    ("base/prefect.yaml", "claimName: prefect-home", "claimName: home", "PersistentVolumeClaim home, which does not"),
    ("base/prefect.yaml", "value: json}", "value: pickle}", "PREFECT_RESULTS_DEFAULT_SERIALIZER is 'pickle' here"),
    ("base/network-policies.yaml", "name: deny-all", "name: deny-some", "there is no NetworkPolicy deny-all"),
    ("base/worker.yaml", "kind: Role\n", "kind: ClusterRole\n", "grants rights in the whole cluster"),
    ("overlays/gpu/gpu-worker.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "worker-gpu: may run as root"),
]  # fmt: skip


@needs_kustomize
@pytest.mark.parametrize(("file", "old", "new", "problem"), KUBERNETES, ids=[problem for *_, problem in KUBERNETES])
def test_faults_in_manifests_are_seen(
    copy: Path, file: str, old: str, new: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "OVERLAYS", ("gpu",))  # it holds all that the other one does; rendering takes seconds
    broken(copy, f"kubernetes/{file}", old, new)
    problems = list(check.check_kubernetes(copy))
    assert any(problem in line for line in problems), problems


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("kubernetes/base/kustomization.yaml", "- dask.yaml", "- desk.yaml", "desk.yaml does not exist"),
        ("secrets/kustomization.yaml", "- prefect_auth", "- prefect_password", "make_secrets.py does not write it"),
        ("postgres/kustomization.yaml", "backup.sh", "back.sh", "back.sh does not exist"),
    ],
)
def test_dangling_kustomizations_are_seen(copy: Path, file: str, old: str, new: str, problem: str) -> None:
    broken(copy, file, old, new)
    assert any(problem in line for line in check.check_kustomizations(copy))


@pytest.mark.parametrize(("file", "old"), [("compose.yaml", "name:"), ("work-pools/docker.json", "{")])
def test_broken_syntax_is_named_with_its_place(copy: Path, file: str, old: str) -> None:
    broken(copy, file, old, "[" + old)
    (problem,) = check.check_syntax(copy)
    assert problem.startswith(file)
    assert "line" in problem


LINTERS: list[tuple[str, Callable[[Path], object], str, str, str]] = [
    ("check-jsonschema", check.check_compose_schema, "compose.yaml", "    healthcheck:", "    healthy:"),
    ("hadolint", check.check_dockerfiles_hadolint, "images/store.Dockerfile", "RUN adduser", "RUN cd /tmp && adduser"),
    ("shellcheck", check.check_scripts, "postgres/backup.sh", 'mkdir -p "$unfinished"', "mkdir -p $unfinished"),
]


@pytest.mark.parametrize(("tool", "run", "file", "old", "new"), LINTERS, ids=[each[0] for each in LINTERS])
def test_linters_of_others_are_heard(
    copy: Path, tool: str, run: Callable[[Path], list[str]], file: str, old: str, new: str
) -> None:
    broken(copy, file, old, new)
    try:
        assert list(run(copy)) != []
    except check.ToolMissingError as reason:
        pytest.skip(str(reason))


def test_the_apis_schema_is_heard(copy: Path) -> None:
    broken(copy, "kubernetes/base/store.yaml", "replicas: 1", "replica: 1")
    try:
        assert any("replica" in line for line in check.check_kubernetes_schema(copy))
    except check.ToolMissingError as reason:
        pytest.skip(str(reason))
