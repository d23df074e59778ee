"""The images' entrypoint: files become variables, a missing file is said in one line, other variables stay."""

import os
import subprocess
from pathlib import Path

from tests.infra.local_stack import INFRA


def run(folder: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(folder), **variables}
    return subprocess.run(
        [str(INFRA / "images/entrypoint.sh"), *command], env=env, capture_output=True, text=True, timeout=30
    )


def test_files_become_variables(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a $b 'c' \"d\" `e`\n")
    done = run(tmp_path, "env", PGPASSWORD_FILE=str(tmp_path / "password"))
    assert "PGPASSWORD=a $b 'c' \"d\" `e`" in done.stdout.splitlines()
    assert "PGPASSWORD_FILE" not in done.stdout


def test_files_elsewhere_are_not_touched(tmp_path: Path) -> None:
    done = run(tmp_path, "env", SSL_CERT_FILE="/etc/ssl/certs/ca.pem")
    assert "SSL_CERT_FILE=/etc/ssl/certs/ca.pem" in done.stdout.splitlines()


def test_certificates_stay_files(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    done = run(tmp_path, "env", TLS__CA_FILE=str(tmp_path / "ca.pem"))
    assert f"TLS__CA_FILE={tmp_path}/ca.pem" in done.stdout.splitlines()


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "true", PGPASSWORD_FILE=str(tmp_path / "absent"))
    assert done.returncode == 1
    assert f"PGPASSWORD_FILE: cannot read {tmp_path}/absent" in done.stderr


def test_exit_status_and_arguments_pass_through(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", 'echo "$1"; exit 7', "sh", "two words")
    assert (done.returncode, done.stdout) == (7, "two words\n")
