"""Where MLflow's store is: of one checkout, not of the one connected before."""

from pathlib import Path

import pytest

from components.tracking.store import connect, tracking_uri


@pytest.mark.slow
def test_connecting_leaves_no_store_behind_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    connect(f"sqlite:///{tmp_path / 'other.db'}")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}"
