"""The pipeline's MLflow run: parent of its stages' runs, with the commit that reproduces them."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from components.base.owner import describe_owner
from components.tracking import upload
from components.tracking.journal import Journal
from components.tracking.journal_files import stage_events
from components.tracking.snapshot import git, run_ref, snapshot
from components.tracking.store import tracking_folder
from components.tracking.summary import pipeline_start, summarise
from components.tracking.uploader import uploaded_link

OWNER_VARIABLE = "FOUNDRY_PIPELINE_OWNER"  # of the processes of a flow: the flow's own process, for the doctor


def open_record(
    root: Path, stale: list[str], name: str = "pipeline", tags: Mapping[str, str] | None = None, title: str = ""
) -> Journal:
    """Start the pipeline's MLflow run with all parameters; call it only if a stage will run.

    title: the run's name; the recipe's when empty.
    """
    from prefect.runtime import flow_run

    about = {"dvc.stale": " ".join(stale), **(tags or {})}
    if flow_run.id:
        about["prefect.flow_run_id"] = str(flow_run.id)
    start = pipeline_start(root, f"flows/{name}.py", name, title, about)
    record = Journal.open(tracking_folder(root), start)
    upload.start_uploader(root)
    return record


def stage_environment(record: Journal | None, root: Path) -> dict[str, str]:
    """Environment of a stage's process: this Python first on PATH, its flow, and the parent of its MLflow run."""
    owner = {OWNER_VARIABLE: json.dumps(describe_owner(root))}
    path = owner | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return path | ({"FOUNDRY_PIPELINE_JOURNAL": f"journal:{record.identity}"} if record else {})


def close_record(record: Journal, root: Path, status: str, latest: str = "") -> str:
    """Commit the code that ran (with its dvc.lock) under refs/runs, tag the run with that commit, and end the run.

    A successful run gets the metrics of reused stages too, so that MLflow compares whole pipelines.

    latest: a second ref for the commit of a successful run. Returns the link to the run in MLflow, if uploaded.
    """
    commit = snapshot(root, record.identity, f"run {record.identity}: {status}")
    if commit:
        record.tags({"git.commit": commit, "git.run": record.identity})
        if latest and status == "FINISHED":
            git(root, "update-ref", run_ref(latest), commit)
    record.summary(summarise(root, stage_events(record.folder), status == "FINISHED"))
    record.end(status)
    if status != "KILLED":
        upload.wait_until_uploaded(record.folder)
    return uploaded_link(record.folder.parent, record.identity)
