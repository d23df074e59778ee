"""One MLflow run above the stages of a `dvc repro` (also `make run`, `foundry run`), as a flow opens for its own.

Each stage is a process of its own, and dvc knows nothing of MLflow. What they share is the dvc process that runs them:
it identifies the pipeline. The first stage that runs opens the run, in the name of dvc; later ones find it by dvc's
pid and start. A dvc that runs no stage leaves no run. When dvc has ended, the uploader closes the run: what the stages
have noted and dvc.lock say how it went.

Nothing outlives a container whose command is dvc. So a stage that may be dvc's last ends the run in MLflow beforehand,
with its description; a later stage sets it to RUNNING again.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from components.base.errors import UserError
from components.base.owner import describe_owner
from components.base.process import find_dvc
from components.tracking.journal import Events, Journal, Value, append_events
from components.tracking.journal_files import all_events, first_event, journals, stage_events
from components.tracking.snapshot import commit_lock, snapshot
from components.tracking.store import tracking_folder
from components.tracking.summary import pipeline_start, summarise
from components.tracking.versions import declared_names, locked_stages, stage_names


def dvc_pipeline(root: Path) -> str:
    """`journal:ID` of the run of the dvc that runs this stage, opened if this is its first; empty without a dvc."""
    dvc = find_dvc()
    if dvc is None:
        return ""
    tracking = tracking_folder(root)
    return f"journal:{journal_of(tracking, dvc_owner(root, dvc.pid)) or _open(root, tracking, dvc)}"


def dvc_owner(root: Path, pid: int) -> Value:
    """The owner record of a dvc at work in `root`."""
    return describe_owner(tracking_folder(root).resolve().parents[1], pid)


def journal_of(tracking: Path, dvc: Value) -> str:
    """The pending journal that this process (see `dvc_owner`) owns as dvc; empty if none of its stages has run."""
    for folder in journals(tracking):
        start = first_event(folder)
        if start.get("root") and start["owner"] == dvc:
            return folder.name
    return ""


def _open(root: Path, tracking: Path, dvc: psutil.Process) -> str:
    words = [Path(part).name for part in dvc.cmdline()]
    start = pipeline_start(root, " ".join(words[words.index("dvc") :] if "dvc" in words else words))
    journal = Journal.open(tracking, replace(start, root=str(root)), dvc.pid)
    commit = snapshot(root, journal.identity, f"run {journal.identity}: its code and parameters")
    if commit:
        journal.tags({"git.commit": commit, "git.run": journal.identity})
    journal.close()
    return journal.identity


def note_stage(root: Path, parent: str, name: str, status: str, **more: Any) -> None:
    """Note in the pipeline's journal that a stage began (RUNNING) or how it ended.

    parent: of the stage's run; one that is no journal of this checkout keeps no notes.
    """
    folder = tracking_folder(root) / parent.removeprefix("journal:")
    if parent.startswith("journal:"):
        append_events(folder, [{"kind": "stage", "name": name, "status": status, **more}])


def note_end(root: Path, parent: str, name: str, status: str, result: Value) -> None:
    """Note how a stage ended; of a stage that may be the last of its dvc, also what describes the whole run."""
    folder = tracking_folder(root) / parent.removeprefix("journal:")
    own = parent.startswith("journal:") and (folder / "events.jsonl").exists() and first_event(folder).get("root")
    last = bool(own) and (status != "FINISHED" or _may_be_last(root, name))
    note_stage(root, parent, name, status, last=last, **result)
    if last:
        append_events(folder, [{"kind": "summary", **summarise(root, stage_events(folder), status == "FINISHED")}])


def _may_be_last(root: Path, name: str) -> bool:
    """Whether dvc's command names the stage, or no stage of dvc.yaml depends on it."""
    dvc = find_dvc()
    if dvc is not None and name in dvc.cmdline():
        return True
    outs = set(declared_names(root, name, "outs"))
    return not any(outs.intersection(declared_names(root, other, "deps")) for other in stage_names(root))


def close_dvc_run(folder: Path) -> None:
    """End the run of a dvc that has ended, as its stages noted it."""
    start, stages = first_event(folder), stage_events(folder)
    root, status = Path(start["root"]), _outcome(Path(start["root"]), stages)
    killed = {f"stage.{name}": "KILLED" for name, event in stages.items() if event["status"] == "RUNNING"}
    events: Events = [{"kind": "tags", "values": killed}]
    if status == "FINISHED" and root.exists():
        with contextlib.suppress(UserError):  # git has refused the snapshot at the start too, and said so
            commit = commit_lock(root, folder.name, f"run {folder.name}: {status}")
            events.append({"kind": "tags", "values": {"git.commit": commit} if commit else {}})
    noted = all_events(folder)
    if noted[-1]["kind"] != "summary":  # else by the last stage
        events.append({"kind": "summary", **summarise(root, stages, status == "FINISHED")})
    events.append({"kind": "end", "status": status})
    last = noted[-1]["time"]  # the same each time it is tried, so that MLflow keeps one point a metric
    append_events(folder, [{**event, "time": last} for event in events])


def _outcome(root: Path, stages: dict[str, dict[str, Any]]) -> str:
    """FINISHED if every stage that began ended well, and dvc has recorded its output."""
    states = {event["status"] for event in stages.values()}
    if "FAILED" in states:
        return "FAILED"
    if states - {"FINISHED"}:
        return "KILLED"
    recorded = locked_stages(root)
    for name, event in stages.items():
        outs = recorded.get(name, {}).get("outs", []) if root.exists() else [{"md5": event["md5"]}]
        if event["md5"] not in {str(out["md5"]) for out in outs}:
            return "KILLED"
    return "FINISHED"
