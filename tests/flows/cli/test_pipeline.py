"""A run that has nothing to do ends in MLflow what an earlier one left."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.tracking.store import tracking_uri
from tests.flows.test_pipeline import runs
from tests.flows.test_processes import wait_for
from tests.tracking.test_upload import leave_journal


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_a_run_killed_after_its_last_stage_is_uploaded_by_the_next_one(toy: Path) -> None:
    stage = "{cmd: foundry stage local_files, always_changed: true, outs: [outputs/local_files: {persist: true}]}"
    (toy / "dvc.yaml").write_text(f"stages:\n  local_files: {stage}\n")
    left = leave_journal(toy, tracking_uri(toy))
    subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=toy, check=True)
    wait_for(lambda: not left.folder.exists(), 120)
    [run] = runs(toy)
    assert (run.info.run_name, run.info.status) == ("starter", "KILLED")
    assert run.data.metrics == {"evaluate/mean": 0.5}
