"""Detect, repair and report the leftovers of crashes.

    foundry doctor              repair
    foundry doctor --look       only report

Checks: stages whose flow is dead, stale DVC locks, a half-written dvc.lock, worktrees of dead runs, MLflow runs RUNNING
without a process, runs not uploaded, stale promotion locks, and Prefect runs and GPU slots without a process.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from prefect import flow, get_run_logger

from components.base.files import whole_file
from components.promotion.lock import lock_name
from components.tracking import upload
from components.tracking.journal_files import journals, owner_lives
from components.tracking.registry import registry_client
from components.tracking.store import EXPERIMENT, is_reachable, redact_uri, tracking_folder, tracking_uri
from flows import lockfile
from flows.isolation import abandoned, remove
from flows.pipeline import GPU_LIMIT

LOCK_MINUTES = 10.0


@dataclass(frozen=True)
class Finding:
    """A problem and its repair; `repair` may be called once."""

    what: str
    cure: str
    repair: Callable[[], object]


def examine(root: Path) -> Iterator[Finding]:
    """All problems of the checkout `root`, in order of repair."""
    yield from orphans(root)
    yield from dvc_locks(root)
    yield from dvc_lockfile(root)
    yield from worktrees(root)
    yield from waiting_journals(root)
    if not is_reachable(tracking_uri(root)):
        yield Finding(
            f"MLflow at {redact_uri(tracking_uri(root))} does not answer", "start it, then rerun the doctor", _nothing
        )
    else:
        yield from mlflow_runs(root)
        yield from promotion_locks(root)
    yield from prefect_runs(root)


def _nothing() -> None:
    """No automatic repair."""


# ---------------------------------------------------------------- processes


def orphans(root: Path) -> Iterator[Finding]:
    """Processes of a pipeline whose flow is dead: they would continue to write to the outputs."""
    for process in psutil.process_iter():
        pipeline = _pipeline_of(process, root)
        if pipeline and not _journal_lives(tracking_folder(root), pipeline):
            title = " ".join(process.cmdline())[:100]
            yield Finding(f"process {process.pid} ({title}) belongs to a dead flow", "ended it", _Killer(process))


def _pipeline_of(process: psutil.Process, root: Path) -> str:
    """The journal id of the pipeline that a process of this checkout works for; empty for any other process."""
    try:
        if not Path(process.cwd()).is_relative_to(root) or process.status() == psutil.STATUS_ZOMBIE:
            return ""
        if "components.tracking.upload" in process.cmdline():
            return ""  # exits by itself
        return process.environ().get("FOUNDRY_PIPELINE_JOURNAL", "").removeprefix("journal:")
    except (psutil.Error, OSError):
        return ""


def _journal_lives(tracking: Path, identity: str) -> bool:
    folder = tracking / identity
    return folder.exists() and owner_lives(folder)


class _Killer:
    """SIGTERM, ten seconds, SIGKILL."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process

    def __call__(self) -> None:
        try:
            self.process.terminate()
            self.process.wait(10)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        except psutil.NoSuchProcess:
            pass


# ---------------------------------------------------------------- DVC and git


def dvc_locks(root: Path) -> Iterator[Finding]:
    """An empty or invalid rwlock (every dvc command fails on it), and entries of dead processes."""
    path = root / ".dvc" / "tmp" / "rwlock"
    if not path.exists():
        return
    try:
        locks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        if not _dvc_runs(root):
            yield Finding(f"{path} is not valid JSON ({path.stat().st_size} bytes)", "removed it", path.unlink)
        return
    dead = sorted({entry["pid"] for entry in _holders(locks) if not _is_dvc(entry["pid"])})
    if dead:
        pids = ", ".join(str(pid) for pid in dead)
        yield Finding(f"{path} has entries of dead processes ({pids})", "removed their entries", _Unlocker(path, dead))


def dvc_lockfile(root: Path) -> Iterator[Finding]:
    """A dvc.lock that a killed dvc left half-written."""
    if lockfile.is_broken(root):
        cure = "restored the last committed one, or removed it"
        yield Finding(f"{root / 'dvc.lock'} is half-written", cure, partial(lockfile.repair_lockfile, root))


def _holders(locks: dict[str, Any]) -> list[dict[str, Any]]:
    writers = list(locks.get("write", {}).values())
    return writers + [reader for readers in locks.get("read", {}).values() for reader in readers]


class _Unlocker:
    """Removes the entries of dead processes from DVC's rwlock."""

    def __init__(self, path: Path, dead: list[int]) -> None:
        self.path, self.dead = path, dead

    def __call__(self) -> None:
        locks = json.loads(self.path.read_text(encoding="utf-8"))
        locks["write"] = {k: v for k, v in locks.get("write", {}).items() if v["pid"] not in self.dead}
        readers = {k: [r for r in v if r["pid"] not in self.dead] for k, v in locks.get("read", {}).items()}
        locks["read"] = {k: v for k, v in readers.items() if v}
        with whole_file(self.path) as partial:
            partial.write_text(json.dumps(locks), encoding="utf-8")


def _is_dvc(pid: int) -> bool:
    """Whether the process is a running dvc; the pid may have been reused by another program."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any("dvc" in part for part in process.cmdline()[:3])
    except psutil.Error:
        return False


def _dvc_runs(root: Path) -> bool:
    for process in psutil.process_iter():
        try:
            if _is_dvc(process.pid) and Path(process.cwd()) == root:
                return True
        except psutil.Error:
            continue
    return False


def worktrees(root: Path) -> Iterator[Finding]:
    """Worktrees of isolated runs whose process is dead."""
    for place in abandoned(root):
        yield Finding(f"{place} is a leftover of a dead run", "removed it", partial(remove, root, place))


# ---------------------------------------------------------------- MLflow


def waiting_journals(root: Path) -> Iterator[Finding]:
    """Runs that ended and are not in MLflow yet."""
    tracking = tracking_folder(root)
    waiting = [folder for folder in journals(tracking) if not owner_lives(folder)]
    if waiting:
        yield Finding(
            f"{len(waiting)} runs wait to be uploaded", "tried to upload them", partial(upload.upload_all, root)
        )


def mlflow_runs(root: Path) -> Iterator[Finding]:
    """Runs of this machine that are RUNNING in MLflow and have no process and no journal."""
    client, tracking = registry_client(root), tracking_folder(root)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
        journal, host = run.data.tags.get("journal", ""), run.data.tags.get("system.host", platform.node())
        if host == platform.node() and journal and not (tracking / journal).exists():
            yield Finding(
                f"MLflow run {run.info.run_name} ({run.info.run_id}) is RUNNING without a process",
                "marked it KILLED",
                partial(_end_run, client, run),
            )


def _end_run(client: Any, run: Any) -> None:
    if client.get_run(run.info.run_id).info.status == "RUNNING":  # it may have ended since it was listed
        client.set_tag(run.info.run_id, "ended.because", "swept: its process is gone")
        client.set_terminated(run.info.run_id, "KILLED")


def promotion_locks(root: Path) -> Iterator[Finding]:
    """Promotion locks older than ten minutes: a swap takes seconds."""
    client = registry_client(root)
    for model in client.search_registered_models(max_results=1000):
        if not model.name.endswith(lock_name("")):
            continue
        minutes = (time.time() * 1000 - model.creation_timestamp) / 60000
        if minutes > LOCK_MINUTES:
            yield Finding(
                f"promotion lock {model.name} ({model.description}) is {minutes:.0f} minutes old",
                "removed it",
                partial(client.delete_registered_model, model.name),
            )


# ---------------------------------------------------------------- Prefect


def prefect_runs(root: Path) -> Iterator[Finding]:
    """Flow runs and GPU slots without a process. Without a server (PREFECT_API_URL) there are none."""
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        return
    if not is_reachable(address):
        yield Finding(f"Prefect at {redact_uri(address)} does not answer", "start it, then rerun the doctor", _nothing)
        return
    yield from _dead_flow_runs(root)
    yield from _taken_slots()


def _dead_flow_runs(root: Path) -> Iterator[Finding]:
    """Flow runs RUNNING in Prefect whose MLflow run was marked KILLED because its process died."""
    client = registry_client(root)
    experiment = client.get_experiment_by_name(EXPERIMENT) if is_reachable(tracking_uri(root)) else None
    if experiment is None:
        return
    for run in _running_flow_runs():
        killed = f"tags.`prefect.flow_run_id` = '{run.id}' and attributes.status = 'KILLED'"
        if client.search_runs([experiment.experiment_id], killed, max_results=1):
            what = f"Prefect flow run {run.name} ({run.id}) is RUNNING without a process"
            yield Finding(what, "marked it Crashed", partial(_crash_flow_run, run.id))


def _taken_slots() -> Iterator[Finding]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            return
        if limit.active_slots and not _running_flow_runs():
            what = f"{limit.active_slots} slot of concurrency limit {GPU_LIMIT} is taken and no flow runs"
            free = GlobalConcurrencyLimitUpdate(active_slots=0)
            yield Finding(what, "freed it", partial(client.update_global_concurrency_limit, GPU_LIMIT, free))


def _running_flow_runs() -> list[Any]:
    """Flow runs that may hold a slot, without this sweep itself."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.runtime import flow_run

    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=states))
    return [run for run in found if str(run.id) != str(flow_run.id)]


def _crash_flow_run(identity: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(identity, Crashed(message="swept: its process is gone"), force=True)


# ---------------------------------------------------------------- all checks


def repair_all(root: Path, look: bool, say: Callable[[str], object]) -> int:
    """Examine and (unless `look`) repair; returns the number of problems."""
    found = 0
    for finding in examine(root):
        found += 1
        if look or finding.repair is _nothing:
            say(f"{finding.what}: {'would be repaired' if finding.repair is not _nothing else finding.cure}")
            continue
        finding.repair()
        say(f"{finding.what}: {finding.cure}")
    if not found:
        say("nothing wrong")
    return found


@flow(name="sweep")
def sweep(root: str = ".") -> int:
    """The doctor as a scheduled flow; returns the number of problems."""
    return repair_all(Path(root).resolve(), look=False, say=get_run_logger().info)
