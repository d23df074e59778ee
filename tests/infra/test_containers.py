"""Services of compose.yaml in namespaces: DVC runs as any uid of the host, and a service has what it names, no more."""

from pathlib import Path

import pytest

from tests.infra.containers import UID, Services


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """The services, none of them started; the test is left out where this machine allows no user namespace."""
    (tmp_path / "project").mkdir()
    (tmp_path / "stack").mkdir()
    found = Services(tmp_path / "stack", tmp_path / "project")
    try:
        found.run("bootstrap", ["true"], "probe")
    except RuntimeError as problem:
        pytest.skip(f"no container of namespaces here: {problem}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("service", ["worker", "worker-gpu"])
def test_dvc_runs_as_a_uid_without_a_passwd_entry(service: str, services: Services) -> None:
    who = ["python", "-c", "import getpass, os; print(os.getuid(), getpass.getuser())"]
    assert services.run(service, who, "who").split() == [UID, "foundry"]
    dvc = ["dvc", "init", "--no-scm"]
    with pytest.raises(RuntimeError, match="uid not found"):  # what USER is set against
        services.run(service, ["env", "--unset=USER", *dvc], "without")
    services.run(service, [*dvc, "--force"], "dvc")
    assert (services.project / ".dvc").is_dir()


SEEN = "id -u; id -g; hostname; ls /run/secrets; grep CapEff /proc/self/status; touch /x /home/foundry/x /tmp/x"


@pytest.mark.slow
def test_a_service_has_what_it_names_and_no_more(services: Services) -> None:
    with pytest.raises(RuntimeError, match="ended with 1") as found:
        services.run("prefect", ["sh", "-c", SEEN], "seen")
    lines = str(found.value).splitlines()[1:]
    assert lines[:3] == ["10001", "10001", "prefect"]
    assert lines[3:5] == sorted(services.compose["services"]["prefect"]["secrets"])
    assert lines[5].split() == ["CapEff:", "0" * 16]
    assert lines[6:] == ["touch: cannot touch '/x': Read-only file system"]
