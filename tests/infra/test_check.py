"""infra/check.py passes on what is in the repository, and sees every kind of fault when a copy is broken."""

import shutil
import sys
from pathlib import Path

import pytest

from infra import check
from infra.make_secrets import NAMES, YOURS
from tests.infra.local_stack import INFRA, REPOSITORY

needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")), reason="neither kubectl nor kustomize is installed"
)


def copied(folder: Path) -> Path:
    """A copy of infra/ to break, with pyproject.toml above it as in the repository."""
    shutil.copytree(INFRA, folder / "infra", ignore=shutil.ignore_patterns("backups", *NAMES, *YOURS, "*.old"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder / "infra"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copied(tmp_path)


def broken(copy: Path, file: str, old: str, new: str) -> None:
    """Replace the first `old` in a file; the text must be there, or the test would test nothing."""
    path = copy / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
def test_the_repository_passes() -> None:
    failed = {name: lines for name, outcome, lines in check.outcomes(INFRA) if outcome == "FAILED"}
    assert failed == {}


@pytest.mark.slow
def test_a_missing_tool_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.shutil, "which", lambda *_, **__: None)
    outcomes = {name: (outcome, lines) for name, outcome, lines in check.outcomes(INFRA)}
    assert outcomes["hadolint"] == ("left out", ["hadolint is not installed"])
    assert outcomes["kubernetes rules"][0] == "left out"
    assert outcomes["compose rules"] == ("ok", [])


def test_the_command_fails_when_a_rule_does(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(copy, "compose.yaml", "127.0.0.1:4200:4200", "4200:4200")
    monkeypatch.setattr(check, "CHECKS", {"compose rules": check.check_compose, "image rules": check.check_images})
    monkeypatch.setattr(sys, "argv", ["check", str(copy)])
    assert check.main() == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == "FAILED    compose rules"
    assert "services.prefect.ports.0: '4200:4200' does not match" in second
    assert last == "ok        image rules"


COMPOSE = [
    ("user: \"999:999\"\n    networks", 'user: "0:0"\n    networks', "services.postgres.user: '0:0' does not match"),
    ('    user: "10001:10001"\n    command: [mlflow', "    command: [mlflow",
     "services.mlflow: 'user' is a required property"),
    ("    networks: [backend]\n    env", "    network_mode: host\n    env", "services.postgres.network_mode: "),
    ("postgres:17.6-bookworm", "postgres:latest", "postgres: image postgres:latest is not pinned"),
    ("postgres:17.6-bookworm", "postgres", "postgres: image postgres is not pinned"),
    ("embedding-foundry/server:0.1.0", "embedding-foundry/server:0.0.9", "should carry the version"),
    ("127.0.0.1:5000:5000", "5000:5000", "services.mlflow.ports.0: '5000:5000' does not match"),
    ("127.0.0.1:7070:7070", "0.0.0.0:7070:7070", "services.store.ports.0: '0.0.0.0:7070:7070' does not match"),
    ("cap_drop: [ALL]", "cap_drop: []", "services.postgres.cap_drop: ['ALL'] was expected"),
    ("no-new-privileges:true", "seccomp:unconfined",
     "services.postgres.security_opt: ['seccomp:unconfined'] does not contain"),
    ("  read_only: true\n", "", "services.store: 'read_only' is a required property"),
    ("limits: {cpus: \"2\", memory: 2g}", "limits: {cpus: \"2\"}",
     "services.postgres.deploy.resources.limits: 'memory' is a required property"),
    ("MLFLOW_BACKEND_STORE_URI: postgresql+psycopg2://mlflow@", "MLFLOW_BACKEND_STORE_URI: postgresql://mlflow:pw@",
     "mlflow: MLFLOW_BACKEND_STORE_URI has a password"),
    ("POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password", "POSTGRES_PASSWORD: hunter2",
     "postgres: POSTGRES_PASSWORD is a secret as text"),
    ("secrets: [prefect_db_password, prefect_auth]", "secrets: [prefect_auth]",
     "prefect: reads /run/secrets/prefect_db_password, which"),
    ("--app-name, basic-auth, ", "", "services.mlflow.command: "),
    ('MLFLOW_ALLOW_PICKLE_DESERIALIZATION: "false"\n      MLFLOW_SERVER', 'MLFLOW_SERVER',
     "services.mlflow.environment: 'MLFLOW_ALLOW_PICKLE_DESERIALIZATION' is a required property"),
    ("MLFLOW_SERVER_ALLOWED_HOSTS: mlflow:5000,", "MLFLOW_SERVER_ALLOWED_HOSTS: mlflow:*,",
     "services.mlflow.environment.MLFLOW_SERVER_ALLOWED_HOSTS: "),
    ("PREFECT_SERVER_API_AUTH_STRING_FILE", "PREFECT_SERVER_API_AUTH_FILE",
     "'PREFECT_SERVER_API_AUTH_STRING_FILE' is a"),
    ("PREFECT_SERVER_UI_STATIC_DIRECTORY: /tmp/ui", "PREFECT_SERVER_UI_STATIC_DIRECTORY: /opt/ui",
     "services.prefect.environment.PREFECT_SERVER_UI_STATIC_DIRECTORY: "),
    ("PREFECT_RESULTS_DEFAULT_SERIALIZER: json", "PREFECT_RESULTS_DEFAULT_SERIALIZER: pickle",
     "services.worker.environment.PREFECT_RESULTS_DEFAULT_SERIALIZER: 'json' was expected"),
    ('DO_NOT_TRACK: "true"', 'DO_NOT_TRACK: "1"', "services.mlflow.environment.DO_NOT_TRACK: 'true' was"),
    ("backend: {internal: true}", "backend: {}", "networks.backend: 'internal' is a required property"),
    ("networks: [backend]", "networks: [backend, edge]", "services.postgres.networks: ['backend'] was"),
    ("{file: ./secrets/prefect_auth}", "{file: ../prefect_auth}", "secret prefect_auth is not one that"),
    ("      - ./postgres/roles.sh:", "      - ./postgres/roles2.sh:", "postgres: ./postgres/roles2.sh does not exist"),
    ("store-data:/data", "stores-data:/data", "store: stores-data is not declared under volumes"),
    ("      - ./postgres/roles.sh", "      - /var/run/docker.sock:/var/run/docker.sock\n      - ./postgres/roles.sh",
     "services.postgres.volumes.1: "),
    ("    restart: \"no\"\n    user", "    user", "services.bootstrap: 'healthcheck' is a required"),
    ("store: {condition: service_healthy}", "shop: {condition: service_healthy}",
     "shop is not declared under services"),
    ("      USER: foundry", "      NAME: foundry", "worker: runs as any uid of the host and sets no USER"),
    ("dockerfile: infra/images/store.Dockerfile", "dockerfile: infra/images/shop.Dockerfile",
     "../infra/images/shop.Dockerfile does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), COMPOSE, ids=[problem for _, _, problem in COMPOSE])
def test_faults_in_compose_are_seen(copy: Path, old: str, new: str, problem: str) -> None:
    broken(copy, "compose.yaml", old, new)
    assert any(problem in line for line in check.check_compose(copy)), list(check.check_compose(copy))


IMAGES = [
    ("cpu.Dockerfile", "FROM python:3.11.14-slim-bookworm", "FROM python", "image python is not pinned"),
    ("cpu.Dockerfile", "USER 10001:10001", "USER root", "must end with USER and a number"),
    ("cuda.Dockerfile", "USER 10001:10001\n", "", "must end with USER and a number"),
    ("store.Dockerfile", "USER 10001:10001", "USER foundry", "must end with USER and a number"),
    ("server.Dockerfile", " -c /tmp/constraints.txt", "", "pip install without -c constraints.txt"),
    ("cpu.Dockerfile", 'ARG PIP_EXTRA_INDEX_URL=""', 'ARG HF_TOKEN=""', "would leave a secret"),
]


@pytest.mark.parametrize(("file", "old", "new", "problem"), IMAGES, ids=[problem for *_, problem in IMAGES])
def test_faults_in_dockerfiles_are_seen(copy: Path, file: str, old: str, new: str, problem: str) -> None:
    broken(copy, f"images/{file}", old, new)
    assert any(f"images/{file}: " in line and problem in line for line in check.check_images(copy))


POOLS = [
    ('mem_limit: {default: 16g}', "memory: {default: 16g}", "docker: variable memory does nothing"),
    ('nano_cpus: "{{ nano_cpus }}"', 'nano_cpus: "{{ cpus }}"', "docker: uses {{ cpus }}, which is no variable"),
    ("default: embedding-foundry/cpu:0.1.0", "default: embedding-foundry/cpu",
     "docker: image embedding-foundry/cpu is not"),
    ('default: "10001:10001"', 'default: "0:0"', "docker: user.default: '0:0' does not match"),
    ("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "docker: container_create_kwargs.cap_drop: ['ALL'] was expected"),
    ("        privileged: null\n", "        privileged: true\n", "docker: privileged: "),
    ("./infra/secrets/prefect_auth:/run/secrets/prefect_auth:ro", "./a:/b", "docker: reads /run/secrets/prefect_auth"),
    ("SERIALIZER: json", "SERIALIZER: pickle", "process: PREFECT_RESULTS_DEFAULT_SERIALIZER: 'json' was expected"),
    ("http://store:7070", "http://shop:7070", "docker: AWS_ENDPOINT_URL_S3 is 'http://shop:7070' here and"),
    ("runAsNonRoot: true", "runAsNonRoot: false", "kubernetes: securityContext.runAsNonRoot: True was expected"),
    ("{foundry/component: job}", "{foundry/component: x}", "kubernetes-gpu: pods lack the label"),
    ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "containers.0.securityContext.readOnlyRoot"),
    ("DVC_SITE_CACHE_DIR: /tmp", "DVC_SITE_CACHE_DIR: /var/tmp", "kubernetes: DVC_SITE_CACHE_DIR is not below /tmp"),
    ("path: store_access_key", "path: other", "kubernetes: reads /run/secrets/store_access_key, which"),
    ("  MLFLOW_TRACKING_PASSWORD_FILE:", "  MLFLOW_TRACKING_PASSWORD:",
     "docker: MLFLOW_TRACKING_PASSWORD is a secret as text"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "problem"), POOLS, ids=[problem for *_, problem in POOLS])
def test_faults_in_work_pools_are_seen(copy: Path, old: str, new: str, problem: str) -> None:
    broken(copy, "work-pools.yaml", old, new)
    assert any(problem in line for line in check.check_pools(copy)), list(check.check_pools(copy))


def test_pools_of_a_worker_that_is_not_installed_are_left_out(copy: Path) -> None:
    broken(copy, "work-pools.yaml", "type: docker", "type: ecs")
    with pytest.raises(check.ToolMissingError, match="prefect-ecs"):
        list(check.check_pools(copy))


KUBERNETES = [
    ("base/mlflow.yaml", "runAsNonRoot: true", "runAsNonRoot: false",
     "Deployment mlflow: securityContext.runAsNonRoot: True was"),
    ("base/mlflow.yaml", "type: RuntimeDefault", "type: Unconfined",
     "Deployment mlflow: securityContext.seccompProfile.type: "),
    ("base/mlflow.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true",
     "mlflow: automountServiceAccountToken: False was"),
    ("base/store.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true",
     "allowPrivilegeEscalation: False was expected"),
    ("base/store.yaml", "drop: [ALL]", "drop: [NET_RAW]", "store: containers.0.securityContext.capabilities.drop: ["),
    ("base/store.yaml", "embedding-foundry/store:0.1.0", "minio/minio:latest", "store: image minio/minio:latest"),
    ("base/prefect.yaml", "limits: {cpu: \"2\", memory: 2Gi}", "limits: {cpu: \"2\"}", "resources.limits: 'memory' is"),
    ("base/prefect.yaml", "livenessProbe:", "lifecycle:", "'livenessProbe' is a required"),
    ("base/prefect.yaml", "{name: tmp, emptyDir: {}}", "{name: tmp, hostPath: {path: /tmp}}",
     "prefect: volumes.2.hostPath: "),
    ("base/postgres.yaml", "value: /run/secrets/postgres_password", "value: hunter2", "is a secret as text"),
    ("base/mlflow.yaml", "kind: Service\nmetadata:\n  name: mlflow\nspec:\n",
     "kind: Service\nmetadata:\n  name: mlflow\nspec:\n  type: NodePort\n",
     "Service mlflow: spec.type: 'ClusterIP' was expected"),
    ("base/mlflow.yaml", "selector: {foundry/component: mlflow}", "selector: {foundry/component: x}", "selects no pod"),
    ("base/prefect.yaml", "claimName: prefect-home", "claimName: home", "PersistentVolumeClaim home, which does not"),
    ("base/prefect.yaml", "value: json}", "value: pickle}", "PREFECT_RESULTS_DEFAULT_SERIALIZER is 'pickle' here"),
    ("base/network-policies.yaml", "name: deny-all", "name: deny-some", "there is no NetworkPolicy deny-all"),
    ("base/worker.yaml", "verbs: [get, list, watch, create", "verbs: ['*', get, list, watch, create",
     "Role worker: rules.0.verbs: "),
    ("overlays/gpu/gpu-worker.yaml", "runAsNonRoot: true", "runAsNonRoot: false",
     "worker-gpu: securityContext.runAsNonRoot: True"),
    # The next two cannot be in one copy with those above.
    ("base/postgres.yaml", "path: postgres_password}", "path: other}",
     "postgres: reads /run/secrets/postgres_password, which"),
    ("base/worker.yaml", "kind: Role\n", "kind: ClusterRole\n", "ClusterRole worker: kind: 'Role' was expected"),
]  # fmt: skip


@pytest.fixture(scope="module")
def manifest_problems(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the check finds in two copies with all faults of KUBERNETES; rendering a copy for each would take long."""
    problems = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "OVERLAYS", ("gpu",))  # it holds all that the other one does
        for faults in (KUBERNETES[:-2], KUBERNETES[-2:]):
            folder = copied(tmp_path_factory.mktemp("manifests"))
            for file, old, new, _ in faults:
                broken(folder, f"kubernetes/{file}", old, new)
            problems += check.check_kubernetes(folder)
    return problems


@pytest.mark.slow
@needs_kustomize
@pytest.mark.parametrize("problem", [problem for *_, problem in KUBERNETES])
def test_faults_in_manifests_are_seen(manifest_problems: list[str], problem: str) -> None:
    assert any(problem in line for line in manifest_problems), manifest_problems


@needs_kustomize
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("kubernetes/base/kustomization.yaml", "- dask.yaml", "- desk.yaml", "desk.yaml"),
        ("secrets/kustomization.yaml", "- prefect_auth", "- prefect_password", "prefect_password"),
        ("postgres/kustomization.yaml", "backup.sh", "back.sh", "back.sh"),
    ],
)
def test_an_overlay_that_does_not_build_fails(
    copy: Path, file: str, old: str, new: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(copy, file, old, new)
    monkeypatch.setattr(check, "CHECKS", {"kubernetes rules": check.check_kubernetes})
    ((_, outcome, lines),) = check.outcomes(copy)
    assert outcome == "FAILED"
    assert named in " ".join(lines)


@pytest.mark.parametrize(("file", "old"), [("compose.yaml", "name:"), ("work-pools.yaml", "pools:")])
def test_broken_syntax_is_named_with_its_place(copy: Path, file: str, old: str) -> None:
    broken(copy, file, old, "[" + old)
    (problem,) = check.check_syntax(copy)
    assert problem.startswith(file)
    assert "line" in problem


LINTERS = [
    ("compose schema", "compose.yaml", "    healthcheck:", "    healthy:", "healthy"),
    ("hadolint", "images/cpu.Dockerfile", "COPY . .", "ADD . .", "DL3020"),
    ("hadolint", "images/cpu.Dockerfile", "COPY . .", "RUN curl -fsS x.invalid | sh", "DL4006"),
    ("shellcheck", "postgres/backup.sh", 'mkdir -p "$unfinished"', "mkdir -p $unfinished", "SC2086"),
    ("kubernetes schemas", "kubernetes/base/store.yaml", "replicas: 1", "replica: 1", "replica"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "old", "new", "problem"), LINTERS, ids=[each[-1] for each in LINTERS])
def test_problems_that_other_packages_find_are_reported(
    copy: Path, name: str, file: str, old: str, new: str, problem: str
) -> None:
    broken(copy, file, old, new)
    try:
        assert any(problem in line for line in check.CHECKS[name](copy))
    except check.ToolMissingError as reason:
        pytest.skip(str(reason))
