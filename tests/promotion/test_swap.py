"""Promotion: the gate decides, one of many wins, the others say why, and there is a way back."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from mlflow.exceptions import MlflowException

from components.base.errors import UserError
from components.base.owner import describe_owner
from components.promotion.audit import write_audit
from components.promotion.gate_version import AGAIN, GateResult, gate_version
from components.promotion.lock import LOCK_TAG, lock_name, promotion_lock
from components.promotion.swap import promote, rollback
from components.tracking.load import load_production
from components.tracking.registry import PRODUCTION, RefusedError, find_version, production_version, refuse_ungated
from components.tracking.store import connect
from tests.tracking.stores import NAME, add_version, write_evaluation


@pytest.fixture
def uri(store: Path) -> str:
    return f"sqlite:///{store}"


def test_gate_compares_with_base_then_with_the_champion(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    first, better, same = (add_version(uri, tmp_path, quality, seed) for seed, quality in enumerate((0.6, 0.7, 0.7)))
    result = gate_version(client, NAME, first)
    assert (result.against, result.promote) == ("base", True)
    promote(client, result, "ann", "first")

    result = gate_version(client, NAME, better)
    assert (result.against, result.promote) == (first, True)
    assert result.difference == pytest.approx(0.1, abs=0.02)
    promote(client, result, "ann", "better")
    with pytest.raises(RefusedError, match="production already"):
        gate_version(client, NAME, better)

    held = gate_version(client, NAME, same)
    assert not held.promote
    with pytest.raises(RefusedError, match="gate: hold"):
        promote(client, held, "bob", "please")
    record = promote(client, held, "bob", "please", force=True)
    assert record["gate"]["forced"]
    assert production_version(client, NAME).tags["gate.verdict"] == "forced"


def test_a_second_evaluation_of_the_same_weights_is_the_noise_floor(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    version = add_version(uri, tmp_path, 0.6, 0)
    assert gate_version(client, NAME, version).noise_floor is None
    write_evaluation(tmp_path / "again", 0.61, 1)
    run = find_version(client, NAME, version).run_id
    client.log_artifacts(run, str(tmp_path / "again"), AGAIN)
    result = gate_version(client, NAME, version)
    assert result.noise_floor == pytest.approx(0.01, abs=0.01)
    assert not any("not measured" in reason for reason in result.reasons)
    promote(client, result, "ann", "first")
    tags = production_version(client, NAME).tags
    assert float(tags["gate.noise_floor"]) == pytest.approx(result.noise_floor, abs=1e-6)


def test_evaluations_on_other_data_name_the_way_out(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    first, second = (add_version(uri, tmp_path, 0.6, seed) for seed in range(2))
    promote(client, gate_version(client, NAME, first), "ann", "first")
    tables = tmp_path / "other"
    write_evaluation(tables, 0.6, 0)
    examples = pl.read_parquet(tables / "examples.parquet").with_columns(pl.col("example_id") + " of other data")
    examples.write_parquet(tables / "examples.parquet")
    client.log_artifacts(find_version(client, NAME, second).run_id, str(tables), "evaluation")
    with pytest.raises(UserError, match=rf"same data: foundry evaluate {second} and foundry evaluate {first}$"):
        gate_version(client, NAME, second)


def passed(version: str, against: str) -> GateResult:
    return GateResult(NAME, version, against, True, ["better"], 0.1, 0.05, 0.15)


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


def test_the_lock_is_exclusive_and_names_its_holder(uri: str) -> None:
    client = connect(uri)
    with (
        promotion_lock(client, NAME, "ann"),
        pytest.raises(RefusedError, match="ann since"),
        promotion_lock(client, NAME, "bob", patience=0.5),
    ):
        pass
    with promotion_lock(client, NAME, "bob", patience=0.5):
        pass


def test_the_lock_of_a_dead_promoter_is_freed_at_once_and_no_other(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    dead = {**describe_owner(tmp_path), "pid": 4_000_000}
    client.create_registered_model(lock_name(NAME), {LOCK_TAG: json.dumps(dead)})
    begin = time.monotonic()
    with promotion_lock(client, NAME, "bob", patience=0):
        assert time.monotonic() - begin < 5
    for unknown in ({**dead, "host": "elsewhere"}, {}):
        client.create_registered_model(lock_name(NAME), {LOCK_TAG: json.dumps(unknown)} if unknown else {})
        with pytest.raises(RefusedError, match="holds the lock"), promotion_lock(client, NAME, "bob", patience=0):
            pass
        client.delete_registered_model(lock_name(NAME))


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


def test_no_evaluation_names_the_command(uri: str, tmp_path: Path) -> None:
    from tests.tracking.stores import ensure_model

    client = connect(uri)
    ensure_model(client)
    run = client.create_run("0")
    version = client.create_model_version(NAME, run.info.artifact_uri, run.info.run_id)
    with pytest.raises(UserError, match=rf"foundry evaluate {version.version}"):
        gate_version(client, NAME, str(version.version))
