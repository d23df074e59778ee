"""The gate on registered versions: against base, the champion, and the noise floor."""

from pathlib import Path

import polars as pl
import pytest

from components.base.errors import UserError
from components.promotion.gate_version import AGAIN, gate_version
from components.promotion.swap import promote
from components.tracking.registry import RefusedError, find_version, production_version
from components.tracking.store import connect
from tests.tracking.stores import NAME, add_version, write_evaluation


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_evaluation_names_the_command(uri: str, tmp_path: Path) -> None:
    from tests.tracking.stores import ensure_model

    client = connect(uri)
    ensure_model(client)
    run = client.create_run("0")
    version = client.create_model_version(NAME, run.info.artifact_uri, run.info.run_id)
    with pytest.raises(UserError, match=rf"foundry evaluate {version.version}"):
        gate_version(client, NAME, str(version.version))
