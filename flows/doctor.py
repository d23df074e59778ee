"""Detect, repair and report the leftovers of crashes of this checkout on this machine.

    foundry doctor              repair
    foundry doctor --look       only report

Checks: stages whose flow is dead, stale DVC locks, a half-written dvc.lock, worktrees of dead runs, MLflow runs and
Prefect runs RUNNING without a process, runs not uploaded, promotion locks of dead processes.

Several people, machines and containers share MLflow, Prefect and sometimes the checkout. So the doctor touches only
what carries an owner record of this checkout whose process is provably dead (components/base/owner.py), and DVC's files
only while no run holds the checkout's locks (flows/at_work.py). Everything else is left as it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from prefect import flow, get_run_logger

from components.base.checkout import home
from components.base.files import whole_file
from components.base.locks import try_lock
from components.base.owner import is_own, owner_state, read_owner, sees_all_processes
from components.base.short_lines import describe_exception
from components.promotion.lock import LOCK_TAG, SUFFIX, all_locks, free_dead_lock
from components.tracking import lockfile, upload
from components.tracking.journal_files import has_ended, journals, owner_standing
from components.tracking.registry import registry_client
from components.tracking.store import EXPERIMENT, is_reachable, redact_uri, store_exists, tracking_folder, tracking_uri
from components.tracking.uploader import OWNER_TAG
from flows.at_work import cancelled, lock_file, nobody_at_work
from flows.isolation import abandoned_worktrees, remove_worktree
from flows.record import OWNER_VARIABLE


@dataclass(frozen=True)
class Finding:
    """A problem and its repair; `repair` may be called once. Without one the cure is up to the user."""

    what: str
    cure: str
    repair: Callable[[], object] | None


def examine(root: Path) -> Iterator[Finding]:
    """All problems of the checkout `root`, in order of repair."""
    yield from find_orphans(root)
    with nobody_at_work(root) as idle:
        if idle:
            yield from find_dvc_locks(root)
            yield from find_broken_lockfile(root)
    yield from find_worktrees(root)
    yield from find_waiting_journals(root)
    recorded = store_exists(tracking_uri(root))  # else no run has made the checkout's store, and looking must not
    trouble = [*_trouble("MLflow", tracking_uri(root) if recorded else "", lambda: _ask_mlflow(root))]
    trouble += _trouble("Prefect", _prefect_address(), lambda: None)
    yield from trouble
    if recorded and not any(finding.what.startswith("MLflow") for finding in trouble):
        yield from find_mlflow_runs(root)
        yield from find_promotion_locks(root)
        if _prefect_address() and not trouble:
            yield from find_prefect_runs(root)  # by the owner records in MLflow


def _ask_mlflow(root: Path) -> None:
    registry_client(root).search_experiments(max_results=1)


def _trouble(name: str, uri: str, ask: Callable[[], object]) -> Iterator[Finding]:
    """A configured server or store that does not answer, or answers with an error."""
    if uri and not is_reachable(uri):
        yield Finding(f"{name} at {redact_uri(uri)} does not answer", "start it, then rerun the doctor", None)
    elif uri:
        try:
            ask()
        except Exception as problem:  # noqa: BLE001  any error of the store is reported as one line
            yield Finding(f"{name} at {redact_uri(uri)}: {describe_exception(problem)}", "repair or restore it", None)


def is_dead_and_ours(record: str, root: Path) -> bool:
    """Whether an owner record (JSON) is of this checkout, and its process is provably dead; False for none."""
    who = read_owner(record)
    return is_own(who, home(root)) and owner_state(who) == "dead"


# ---------------------------------------------------------------- processes


def find_orphans(root: Path) -> Iterator[Finding]:
    """Processes of a pipeline whose flow is dead: they would continue to write to the outputs."""
    for process in psutil.process_iter():
        if _is_orphan(process, root):
            title = " ".join(process.cmdline())[:100]
            yield Finding(f"process {process.pid} ({title}) belongs to a dead flow", "ended it", partial(_end, process))


def _is_orphan(process: psutil.Process, root: Path) -> bool:
    """The process uploading runs is none: it ends by itself."""
    try:
        if not Path(process.cwd()).is_relative_to(root) or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if "components.tracking.upload" in process.cmdline():
            return False
        return is_dead_and_ours(process.environ().get(OWNER_VARIABLE, ""), root)
    except (psutil.Error, OSError):
        return False


def _end(process: psutil.Process) -> None:
    """SIGTERM, ten seconds, SIGKILL."""
    try:
        process.terminate()
        process.wait(10)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(10)
    except psutil.NoSuchProcess:
        pass


# ---------------------------------------------------------------- DVC and git


def find_dvc_locks(root: Path) -> Iterator[Finding]:
    """An empty or invalid rwlock (every dvc command fails on it), and entries of dead processes.

    DVC's entries have a pid but no machine or container. From inside a container they are left: the next dvc command
    removes those of pids that do not exist.
    """
    path, locks = lockfile.rwlock(root), lockfile.read_rwlock(root)
    if locks is None:
        yield Finding(f"{path} is not valid JSON ({path.stat().st_size} bytes)", "removed it", path.unlink)
        return
    dead = sorted({entry["pid"] for entry in _holders(locks) if not _is_dvc(entry["pid"])})
    if dead and sees_all_processes() and not _dvc_runs(root):
        pids = ", ".join(str(pid) for pid in dead)
        repair = partial(_unlock, path, dead)
        yield Finding(f"{path} has entries of dead processes ({pids})", "removed their entries", repair)


def find_broken_lockfile(root: Path) -> Iterator[Finding]:
    """A dvc.lock that a killed dvc left half-written."""
    if lockfile.is_broken(root):
        cure = "restored the last committed one, or removed it"
        yield Finding(f"{root / 'dvc.lock'} is half-written", cure, partial(lockfile.repair_lockfile, root))


def _holders(locks: Mapping[str, Any]) -> list[dict[str, Any]]:
    writers = list(locks.get("write", {}).values())
    return writers + [reader for readers in locks.get("read", {}).values() for reader in readers]


def _unlock(path: Path, dead: list[int]) -> None:
    """Remove the entries of dead processes from DVC's rwlock."""
    locks = json.loads(path.read_text(encoding="utf-8"))
    locks["write"] = {k: v for k, v in locks.get("write", {}).items() if v["pid"] not in dead}
    readers = {k: [r for r in v if r["pid"] not in dead] for k, v in locks.get("read", {}).items()}
    locks["read"] = {k: v for k, v in readers.items() if v}
    with whole_file(path) as partial_file:
        partial_file.write_text(json.dumps(locks), encoding="utf-8")


def _is_dvc(pid: int) -> bool:
    """Whether the process is a running dvc; the pid may have been reused by another program."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any("dvc" in part for part in process.cmdline()[:3])
    except psutil.Error:
        return False


def _dvc_runs(root: Path) -> bool:
    """Whether a dvc works in `root`, also one in a container that has the folder under another name."""
    here = root.stat()
    for process in psutil.process_iter():
        try:
            there = Path(f"/proc/{process.pid}/cwd").stat()
        except OSError:
            continue
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) and _is_dvc(process.pid):
            return True
    return False


def find_worktrees(root: Path) -> Iterator[Finding]:
    """Worktrees of isolated runs whose process is dead."""
    for place in abandoned_worktrees(root):
        yield Finding(f"{place} is a leftover of a dead run", "removed it", partial(remove_worktree, root, place))


# ---------------------------------------------------------------- MLflow


def find_waiting_journals(root: Path) -> Iterator[Finding]:
    """Runs that ended, or whose process is dead, and are not in MLflow yet."""
    found = journals(tracking_folder(root))
    waiting = [folder for folder in found if owner_standing(folder) == "dead" or has_ended(folder)]
    if waiting:
        yield Finding(
            f"{len(waiting)} runs wait to be uploaded", "tried to upload them", partial(upload.upload_all, root)
        )


def find_mlflow_runs(root: Path) -> Iterator[Finding]:
    """Runs of this checkout that are RUNNING in MLflow and have no process and no journal."""
    client, tracking = registry_client(root), tracking_folder(root)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
        journal = run.data.tags.get("journal", "")
        waits = bool(journal) and (tracking / journal).exists()
        if not waits and is_dead_and_ours(run.data.tags.get(OWNER_TAG, ""), root):
            what = f"MLflow run {run.info.run_name} ({run.info.run_id}) is RUNNING without a process"
            yield Finding(what, "marked it KILLED", partial(_end_run, client, run))


def _end_run(client: Any, run: Any) -> None:
    if client.get_run(run.info.run_id).info.status == "RUNNING":  # it may have ended since it was listed
        client.set_tag(run.info.run_id, "ended.because", "swept: its process is gone")
        client.set_terminated(run.info.run_id, "KILLED")


def find_promotion_locks(root: Path) -> Iterator[Finding]:
    """Promotion locks of dead processes: registered models with the lock's tag and without any version."""
    client = registry_client(root)
    for model in all_locks(client):
        if not model.latest_versions and is_dead_and_ours(model.tags[LOCK_TAG], root):
            what = f"promotion lock {model.name} ({model.description}) belongs to a dead process"
            yield Finding(what, "removed it", partial(free_dead_lock, client, model.name.removesuffix(SUFFIX)))


# ---------------------------------------------------------------- Prefect


def _prefect_address() -> str:
    """The configured server; empty without one."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


def find_prefect_runs(root: Path) -> Iterator[Finding]:
    """Flow runs RUNNING in Prefect whose process is dead, by the owner record of their MLflow run."""
    client = registry_client(root)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return
    for run in _running_flow_runs():
        same = f"tags.`prefect.flow_run_id` = '{run.id}'"
        found = client.search_runs([experiment.experiment_id], same)
        if any(is_dead_and_ours(one.data.tags.get(OWNER_TAG, ""), root) for one in found):
            what = f"Prefect flow run {run.name} ({run.id}) is RUNNING without a process"
            yield Finding(what, "marked it Crashed", partial(_crash_flow_run, run.id))


def _running_flow_runs() -> list[Any]:
    """Flow runs that have not ended, without this sweep itself."""
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
    """Examine and (unless `look`) repair; returns the number of problems that are left."""
    found = left = 0
    for finding in examine(root):
        found += 1
        if look or finding.repair is None:
            left += 1
            say(f"{finding.what}: {'would be repaired' if finding.repair else finding.cure}")
        else:
            finding.repair()
            say(f"{finding.what}: {finding.cure}")
    if not found:
        say("nothing wrong")
    return left


@flow(name="sweep")
def sweep(root: str = ".") -> int:
    """The doctor as a scheduled flow; returns the number of problems left. One at a time in a checkout."""
    place = Path(root).resolve()
    with try_lock(lock := lock_file(place, "sweep")) as free:
        if not free:
            return cancelled(lock)
        return repair_all(place, look=False, say=get_run_logger().info)
