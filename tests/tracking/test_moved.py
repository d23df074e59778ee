"""A moved checkout reads its old artifacts and writes new ones beside them."""

import shutil
from pathlib import Path

import pytest

from components.tracking.store import connect, experiment_id


def test_artifacts_follow_a_moved_checkout(
    empty_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "be fore", tmp_path / "after"
    before.mkdir()
    shutil.copyfile(empty_store, before / "mlflow.db")
    (before / "report.html").write_text("old")
    uri = f"sqlite:///{before / 'mlflow.db'}"
    client = connect(uri)
    run = client.create_run(experiment_id(client, uri))
    client.log_artifact(run.info.run_id, str(before / "report.html"))

    before.rename(after)
    uri = f"sqlite:///{after / 'mlflow.db'}"
    client = connect(uri)
    assert "the checkout was moved from file:///" in capsys.readouterr().err
    assert Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))).read_text() == "old"
    later = client.create_run(experiment_id(client, uri))
    client.log_artifact(later.info.run_id, str(after / "report.html"))
    assert len(list((after / "mlartifacts").rglob("report.html"))) == 2
    assert not before.exists()
    connect(uri)
    assert capsys.readouterr().err == "", "once"
