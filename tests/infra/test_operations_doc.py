"""Commands, files and services that docs/operations.md names exist."""

import importlib.util
import re

import pytest
import yaml

from tests.infra.local_stack import INFRA, REPOSITORY

TEXT = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", TEXT))))
def test_modules_exist(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)\b(?= |`|$)", TEXT, re.M))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(?:infra|tests|components)/[\w./-]*\w", TEXT))))
def test_files_exist(path: str) -> None:
    made_by_you = ("infra/backups", "infra/secrets/")
    assert (REPOSITORY / path).exists() or path.startswith(made_by_you)


def test_secrets_are_all_told_how_to_rotate() -> None:
    section = TEXT.split("## Rotate secrets")[1].split("\n## ")[0]
    assert [name for name in COMPOSE["secrets"] if f"`{name}`" not in section] == []


def test_services_exist() -> None:
    dc = re.findall(r"(?:dc|compose\.yaml) (?:exec|logs|stop|start|run --rm) ([a-z -]+)", TEXT)
    named = {word for names in dc for word in names.split() if not word.startswith("-")}
    commands = {"bash", "psql", "foundry", "doctor", "e"}
    assert named - commands <= set(COMPOSE["services"]), named


def test_links_inside_lead_somewhere() -> None:
    titles = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in TEXT.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= titles


def test_deployments_are_those_of_prefect_yaml() -> None:
    section = TEXT.split("## Schedules")[1].split("\n## ")[0]
    for deployment in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]:
        assert deployment["name"] in section
