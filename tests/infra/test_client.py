"""infra/client.py prints what a shell needs, secrets quoted, and says what to do without secrets."""

import shutil
import subprocess
from pathlib import Path

import pytest

from infra import client
from infra.make_secrets import make_secrets
from tests.infra.local_stack import INFRA


def test_variables_name_loopback_and_hold_the_secrets(tmp_path: Path) -> None:
    shutil.copy(INFRA / "compose.yaml", tmp_path)
    make_secrets(tmp_path / "secrets")
    variables = client.client_variables(tmp_path)
    assert variables["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert variables["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert variables["PREFECT_API_AUTH_STRING"] == (tmp_path / "secrets/prefect_auth").read_text()
    assert not any("/run/secrets" in value or name.endswith("_FILE") for name, value in variables.items())


def test_the_output_is_what_a_shell_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(INFRA / "compose.yaml", tmp_path)
    make_secrets(tmp_path / "secrets")
    (tmp_path / "secrets/prefect_auth").chmod(0o600)
    (tmp_path / "secrets/prefect_auth").write_text('admin:it\'s $(odd) "text"')
    monkeypatch.setattr(client, "client_variables", lambda read=client.client_variables: read(tmp_path))
    assert client.main() == 0
    script = capsys.readouterr().out + 'printf %s "$PREFECT_API_AUTH_STRING"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'admin:it\'s $(odd) "text"'


def test_without_secrets_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(INFRA / "compose.yaml", tmp_path)
    monkeypatch.setattr(client, "client_variables", lambda read=client.client_variables: read(tmp_path))
    assert client.main() == 1
    assert "run `python infra/make_secrets.py` first" in capsys.readouterr().err
