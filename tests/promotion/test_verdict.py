"""An evaluation is compared with production's at once; an error there does not fail the stage."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from components.promotion.verdict import publish_verdict
from components.tracking.journal import Journal, RunStart
from components.tracking.journal_files import all_events
from components.tracking.registry import PRODUCTION
from components.tracking.store import EXPERIMENT, connect, tracking_folder
from tests.samples import ROOT
from tests.tracking.stores import NAME, add_version, write_evaluation


def published(root: Path, out: Path) -> Journal:
    journal = Journal.open(tracking_folder(root), RunStart("sqlite:///none", EXPERIMENT, "evaluate"))
    publish_verdict(journal, root, out)
    journal.close()
    return journal


@pytest.mark.slow
def test_verdict_of_an_evaluation(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    write_evaluation(tmp_path / "evaluate", 0.7, 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'no.db'}")
    assert len(all_events(published(tmp_path, tmp_path / "evaluate").folder)) == 1
    assert not (tmp_path / "no.db").exists(), "asking creates no store"

    uri = f"sqlite:///{store}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    version = add_version(uri, tmp_path, 0.6, 0)
    assert len(all_events(published(tmp_path, tmp_path / "evaluate").folder)) == 1, "nothing is in production"

    connect(uri).set_registered_model_alias(NAME, PRODUCTION, version)
    journal = published(tmp_path, tmp_path / "evaluate")
    assert json.loads((journal.folder / "files/gate/gate.json").read_text())["verdict"] == "promote"
    assert (journal.folder / "files/gate/gate.html").exists()
    assert all_events(journal.folder)[-1]["values"] == {"gate.verdict": "promote", "gate.against": version}

    (tmp_path / "evaluate" / "scores.parquet").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(all_events(published(tmp_path, tmp_path / "evaluate").folder)) == 1
    assert "no gate verdict" in caplog.text
