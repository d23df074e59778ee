"""No secret in git: the files git knows, and the parameters that runs log, are searched for the usual patterns."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.infra.local_stack import INFRA, REPOSITORY

# Passwords that are none (secret, pw, token) may stand in examples and tests.
PATTERNS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\n[A-Za-z0-9+/=]"),
    "AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{22,}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "password in an address": re.compile(
        r"\b[a-z][a-z0-9+]*://[^/\s:@<>{}$]+:(?!secret@|pw@|token@)[^/\s@<>{}$]+@[\w.]"
    ),
    "secret as a value": re.compile(
        r"""(?i)\b\w*(?:password|passwd|secret_key|api_key|auth_token)['"]?\s*[:=]\s*['"](?!/run/|\W)[\w+/=-]{16,}['"]"""
    ),
}
SAMPLES = {
    "private key": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE",
    "AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "GitHub token": "ghp_" + "a" * 36,
    "Hugging Face token": "hf_" + "a" * 34,
    "Slack token": "xoxb-" + "1" * 12,
    "JSON web token": "eyJ" + "a" * 12 + ".eyJ" + "b" * 12 + "." + "c" * 12,
    "password in an address": "postgresql://mlflow:" + "hunter2@db.internal/mlflow",
    "secret as a value": "store_secret_key = '" + "a1" * 10 + "'",
}


def tracked() -> Iterator[tuple[str, str]]:
    """Path and text of every text file that git has, or would take with the next `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in sorted(set(listed.split("\0")) - {""}):
        path = REPOSITORY / name
        if path.is_file() and path.stat().st_size < 5_000_000:
            data = path.read_bytes()
            if b"\0" not in data[:1000]:
                yield name, data.decode("utf-8", errors="replace")


@pytest.mark.parametrize("kind", sorted(PATTERNS))
def test_each_pattern_finds_its_kind(kind: str) -> None:
    assert PATTERNS[kind].search(SAMPLES[kind])


@pytest.mark.slow
def test_no_file_that_git_takes_holds_a_secret() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: nothing to search")
    found = [
        f"{name}: {kind}: {match[0][:12]}..."
        for name, text in tracked()
        for kind, pattern in PATTERNS.items()
        if (match := pattern.search(text))
    ]
    assert found == []


def test_git_ignores_what_make_secrets_writes() -> None:
    names = [
        f"infra/secrets/{name}" for name in ("prefect_auth", "dask_key.pem", "prefect_auth.old", "git_credentials")
    ]
    done = subprocess.run(["git", "check-ignore", *names, "infra/backups/x.dump"], cwd=REPOSITORY, capture_output=True)
    assert len(done.stdout.splitlines()) == len(names) + 1


def test_images_do_not_take_secrets_in() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert {"infra/secrets", "infra/backups", ".dvc/config.local", ".git", ".venv", "outputs"} <= set(ignored)


def parameter_files() -> list[Path]:
    return [REPOSITORY / "params.yaml", *sorted((REPOSITORY / "recipes").glob("*.yaml"))]


@pytest.mark.parametrize("path", parameter_files(), ids=lambda path: path.name)
def test_no_parameter_that_a_run_logs_is_a_secret(path: Path) -> None:
    """MLflow keeps every parameter for ever, in clear text: none may be named like, or look like, a secret."""

    def walk(value: object, where: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, below in value.items():
                yield from walk(below, f"{where}.{key}")
        elif isinstance(value, list):
            for item in value:
                yield from walk(item, where)
        else:
            named = re.search(r"(?i)password|secret|token$|api_key|credential", where.rpartition(".")[2])
            if named or any(pattern.search(str(value)) for pattern in PATTERNS.values()):
                yield where

    assert list(walk(yaml.safe_load(path.read_text()), "")) == []


def test_the_rules_of_compose_and_kubernetes_cover_every_secret() -> None:
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    kustomization = yaml.safe_load((INFRA / "secrets/kustomization.yaml").read_text())
    assert set(compose["secrets"]) == set(kustomization["secretGenerator"][0]["files"]) - {"git_credentials"}
