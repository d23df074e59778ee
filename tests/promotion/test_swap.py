"""Promotion: the gate decides, one of many wins, the others say why, and there is a way back."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from components.base.errors import UserError
from components.promotion.audit import write_audit
from components.promotion.gate_version import GateResult
from components.promotion.swap import promote, rollback
from components.tracking.load import load_production
from components.tracking.registry import PRODUCTION, RefusedError, find_version, production_version, refuse_ungated
from components.tracking.store import connect
from tests.tracking.stores import NAME, add_version


def passed(version: str, against: str) -> GateResult:
    return GateResult(NAME, version, against, True, ["better"], 0.1, 0.05, 0.15)


@pytest.mark.slow
def test_twenty_at_once_one_wins_and_the_others_say_why(uri: str, tmp_path: Path) -> None:
    versions = [add_version(uri, tmp_path, 0.6, seed) for seed in range(21)]
    promote(connect(uri), passed(versions[0], "base"), "ann", "champion")

    def attempt(version: str) -> str:
        try:
            promote(connect(uri), passed(version, versions[0]), f"user {version}", "race")
        except RefusedError as problem:
            return str(problem)
        return "won"

    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(attempt, versions[1:]))
    assert said.count("won") == 1
    winner = versions[1:][said.index("won")]
    assert str(production_version(connect(uri), NAME).version) == str(winner)
    losers = [text for text in said if text != "won"]
    assert all(f"production is now {winner} (user {winner})" in text for text in losers)


@pytest.mark.slow
def test_a_lost_answer_of_the_swap_is_no_failure_and_a_real_one_is(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    version = add_version(uri, tmp_path, 0.6, 0)
    swap = client.set_registered_model_alias

    def lost(*arguments: str) -> None:
        swap(*arguments)
        raise MlflowException("connection reset")

    client.set_registered_model_alias = lost  # type: ignore[method-assign]
    assert promote(client, passed(version, "base"), "ann", "first")["version"] == version
    client.delete_registered_model_alias(NAME, PRODUCTION)
    client.set_registered_model_alias = lambda *arguments: lost("", "", "")  # type: ignore[method-assign]
    with pytest.raises(MlflowException):
        promote(client, passed(version, "base"), "ann", "again")
    assert production_version(client, NAME) is None


@pytest.mark.slow
def test_rollback_gives_back_what_was_replaced(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    one, two = (add_version(uri, tmp_path, 0.6, seed) for seed in range(2))
    promote(client, passed(one, "base"), "ann", "first")
    with pytest.raises(RefusedError, match="nothing to go back to"):
        rollback(client, NAME, "ann", "no")
    promote(client, passed(two, one), "ann", "second")
    record = rollback(client, NAME, "bob", "it is slow")
    assert (record["version"], record["replaces"]) == (one, two)
    assert str(production_version(client, NAME).version) == one
    assert find_version(client, NAME, two).tags["rolled_back.because"] == "it is slow"


@pytest.mark.slow
def test_loader_refuses_an_alias_moved_by_hand(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = connect(uri)
    version = add_version(uri, tmp_path, 0.6, 0)
    with pytest.raises(UserError, match="no version or alias 'production'"):
        load_production(NAME)
    client.set_registered_model_alias(NAME, PRODUCTION, version)
    with pytest.raises(RefusedError, match="has not passed the gate"):
        load_production(NAME)
    promote(client, passed(version, version), "ann", "gated now")
    refuse_ungated(find_version(client, NAME, PRODUCTION))


@pytest.mark.slow
def test_audit_is_a_run_and_a_git_tag(uri: str, tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    repository.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    subprocess.run([*git, "commit", "--allow-empty", "-qm", "x"], cwd=repository, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    for setting, value in (("tag.gpgSign", "true"), ("gpg.program", "/bin/false")):  # somebody who signs
        subprocess.run(["git", "config", setting, value], cwd=repository, check=True)
    client = connect(uri)
    version = add_version(uri, tmp_path, 0.6, 0, {"git.commit": commit.stdout.strip()})
    record = promote(client, passed(version, "base"), "ann", "first")
    tag = write_audit(client, repository, uri, record)
    client.rename_registered_model(NAME, "my model, the 2nd")
    odd = write_audit(client, repository, uri, {**record, "name": "my model, the 2nd"})
    assert odd.startswith("production/my_model_the_2nd/v")
    shown = subprocess.run(["git", "cat-file", "tag", tag], cwd=repository, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout[shown.stdout.index("{") :])["who"] == "ann"
    experiment = client.get_experiment_by_name("promotions")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.data.params["why"] == "first"
