"""The pipeline as a Prefect flow, built from dvc.yaml's graph: one task per stage, DVC decides what runs.

    foundry pipeline                      every stage of this checkout; no server needed
    foundry pipeline train                one stage and what it needs
    foundry pipeline --isolated --set train.steps=50      in a worktree, with other parameters

A task runs `dvc repro -s STAGE` and ends Completed (it ran), Cached (unchanged) or Failed (with the stage's error
message). Independent stages run in parallel. Only `local_files`, which detects edits of the user's own files, runs
every time, before the others. If nothing changed, no other stage runs and no MLflow run is created.
"""

import os
import re
import time
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from components.base.checkout import home
from components.base.errors import UserError
from components.base.locks import try_lock
from components.config.types import safe_name
from components.tracking import lockfile
from components.tracking.journal import Journal
from components.tracking.snapshot import git, run_ref
from components.tracking.store import comparison_link, is_reachable
from flows import isolation
from flows.at_work import cancelled, lock_file, only_run
from flows.dag import DVC, Stage, outputs_of, read_dag, select, stale_stages
from flows.gpu_slot import hold_cards
from flows.processes import allow_running, raise_if_stopped, run_streamed, stop_running
from flows.record import close_record, open_record, stage_environment
from flows.summary import summarise

TRANSIENT = re.compile(
    r"Unable to acquire lock|ConnectionError|ConnectTimeout|ReadTimeout|Connection reset|Temporary failure in name"
    r"|RemoteDisconnected|50[234] Server Error|database is locked|CUDA error: unspecified"
    r"|exited with (?:75|137|-9)\b"
)


class StageFailedError(UserError, RuntimeError):
    """Stages failed permanently; the text has each stage's error message."""


class TransientFailureError(UserError, RuntimeError):
    """A stage failed for a transient reason: network, lock, memory."""


def is_transient(task: Any, task_run: Any, state: "State[Any]") -> bool:
    """Prefect's retry condition: whether the failure is transient."""
    return isinstance(state.result(raise_on_failure=False), TransientFailureError)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=10),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    task_run_name="{stage.name}",
)
def run_stage(stage: Stage, root: Path, stale: bool, env: dict[str, str], pull: bool) -> Any:
    """Reproduce one stage with DVC; returns a Completed state, named Cached if nothing ran.

    pull: fetch missing inputs and cached results from the DVC remote.
    """
    if not stale:
        return Completed(name="Cached", message="unchanged since the last run", data="unchanged")
    log, lines, before = get_run_logger(), list[str](), outputs_of(stage.name, root)

    def note(line: str) -> None:
        lines.append(line)
        log.info(line)

    begin = time.monotonic()
    with hold_cards(log.info, raise_if_stopped) if stage.gpu else nullcontext():
        try:
            command = [*DVC, "repro", "--single-item", *(["--pull"] if pull else []), stage.name]
            status = run_streamed(command, root, {**os.environ, **env}, note, stage.timeout_hours * 3600)
        except TimeoutError as problem:
            raise StageFailedError(
                f"{stage.name}: {problem} of {stage.timeout_hours} h; see meta in dvc.yaml"
            ) from None
    if status:
        raise _failure(stage.name, lines, status)
    how = parse_outcome(lines)
    if stage.always and outputs_of(stage.name, root) == before:
        how = "unchanged"
    if how == "executed":
        return Completed(message=f"ran in {time.monotonic() - begin:.0f} s", data=how)
    return Completed(name="Cached", message=how, data=how)


def parse_outcome(lines: list[str]) -> str:
    """The outcome of a `dvc repro` from its output.

    >>> parse_outcome(["Running stage 'train':", "> foundry stage train"])
    'executed'
    >>> parse_outcome(["Stage 'train' is cached - skipping run, checking out outputs"])
    'restored from the run cache'
    >>> parse_outcome(["Stage 'train' didn't change, skipping"])
    'unchanged'
    """
    text = "\n".join(lines)
    if "Running stage" in text:
        return "executed"
    return "restored from the run cache" if "is cached - skipping run" in text else "unchanged"


def _failure(name: str, lines: list[str], status: int) -> Exception:
    """The failure as an exception: the stage's one-line error, or the last line before DVC's own.

    A negative status is the signal that killed dvc, for example when memory runs out.
    """
    tail = "\n".join(lines[-40:])
    own = [line for line in lines if line.startswith(f"error: {name}:")]
    noise = re.compile(r"Updating lock file|ERROR: failed to reproduce .*: failed to run: |If there are no processes")
    others = [line for line in lines if not noise.match(line)]
    message = (own or others or ["no output"])[-1]
    passing = status < 0 or (not own and TRANSIENT.search(tail))
    kind = TransientFailureError if passing else StageFailedError
    return kind(message if own else f"{name}: {message}")


def run_name() -> str:
    """Name of a flow run: its targets, recipe and changed parameters."""
    from prefect.runtime import flow_run

    given = flow_run.parameters
    title = describe_changes(given.get("recipe", ""), given.get("parameters") or {})
    revision = "" if given.get("revision", "HEAD") == "HEAD" else f"of {given['revision']}"
    return " ".join(part for part in ("+".join(given.get("targets") or ["all stages"]), title, revision) if part)


def describe_changes(recipe: str, parameters: dict[str, Any]) -> str:
    """A recipe and changed parameters in one line, for run names.

    >>> describe_changes("mistral-7b", {"train.steps": 50})
    'mistral-7b train.steps=50'
    """
    return " ".join([*([recipe] if recipe else []), *(f"{key}={value}" for key, value in parameters.items())])[:200]


_runner: Any = ThreadPoolTaskRunner(max_workers=8)


@flow(name="pipeline", flow_run_name=run_name, task_runner=_runner, retries=0)
def pipeline(
    root: str = ".",
    targets: list[str] | None = None,
    isolated: bool = False,
    revision: str = "HEAD",
    recipe: str = "",
    parameters: dict[str, Any] | None = None,
    share: bool = False,
    alone: str = "",
) -> dict[str, str]:
    """Bring `targets` (every stage if empty) up to date; returns the outcome per stage.

    Args:
        isolated: run in a git worktree of `revision`, not in the user's files; needed for `recipe` and `parameters`.
        recipe: a file of recipes/ to run instead of params.yaml.
        parameters: single values on top, by dotted key: {"train.steps": 50}.
        share: pull from and push to the DVC and git remotes, for a worker without a persistent disk.
        alone: a name, such as `nightly`: while a run with this name is at work, another one ends as Cancelled.

    Raises:
        UserError: a wrong target, revision, recipe or parameter.
        StageFailedError: stages failed; the text has each stage's error message.
    """
    place = Path(root).resolve()
    allow_running()
    if not isolated and (recipe or parameters or revision != "HEAD"):
        raise UserError("recipe, parameters and revision need isolated: true; your params.yaml stays as it is")
    if alone:
        _refuse_unsafe(alone)
    with try_lock(lock := lock_file(place, alone)) if alone else nullcontext(True) as free:
        if not free:
            return cancelled(lock)
        if isolated:
            return _run_isolated(place, targets or [], revision, recipe, parameters or {}, share)
        with only_run(place):
            return _reproduce(place, targets or [], share)


def _refuse_unsafe(alone: str) -> None:
    """It becomes the name of a lock file, and each user who may start a deployment chooses it."""
    try:
        safe_name(alone)
    except ValueError as problem:
        raise UserError(f"alone: {problem}") from None


def _run_isolated(
    place: Path, targets: list[str], revision: str, recipe: str, parameters: dict[str, Any], share: bool
) -> dict[str, str]:
    if share:
        isolation.fetch_runs(place)
    with isolation.isolated_worktree(place, revision, f"pipeline-{uuid.uuid4().hex[:8]}") as own:
        isolation.change_parameters(own, recipe, parameters)
        isolation.begin_from_newest(place, own, pull=share)
        latest = "" if recipe or parameters or targets else isolation.LATEST
        return _reproduce(own, targets, share, latest)


def _reproduce(root: Path, targets: list[str], share: bool, latest: str = "") -> dict[str, str]:
    for repair in lockfile.repair_files(root):
        get_run_logger().warning(repair)
    dag = select(read_dag(root), targets)
    always = {name: dag.pop(name) for name in list(dag) if dag[name].always}
    results = _run_all(always, root, set(always), None, share)  # their outputs decide which other stages are stale
    stale = stale_stages(root, dag)
    record = open_record(root, sorted(stale)) if stale else None
    status, link = "FAILED", ""
    try:
        results |= _run_all(dag, root, stale, record, share)
        status = "FINISHED"
    except BaseException as problem:
        if not isinstance(problem, Exception):
            status = "KILLED"
        raise
    finally:
        if record is not None:
            link = close_record(record, root, status, latest)
            kept = git(root, "rev-parse", "--verify", "--quiet", run_ref(record.identity), check=False)
            rerun = f"; rerun: make reproduce RUN={record.identity}" if kept else ""
            shown = link or "not uploaded yet"
            if link and not is_reachable(link):
                shown += " (after `make ui`)"
            get_run_logger().info(f"MLflow: {shown}{rerun}")
            if link:
                get_run_logger().info(f"compare with other runs: {comparison_link(link)}")
    if share and stale:
        isolation.push_runs(root)
    summarise(root, results, link)
    return results


def _run_all(dag: dict[str, Stage], root: Path, stale: set[str], record: Journal | None, pull: bool) -> dict[str, str]:
    env = stage_environment(record, home(root))
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for stage in dag.values():
            needs = [futures[name] for name in stage.needs if name in futures]
            inputs: dict[str, Any] = {"stage": stage, "stale": stage.name in stale}
            futures[stage.name] = run_stage.submit(**inputs, root=root, env=env, pull=pull, wait_for=needs)
        for future in futures.values():
            future.wait()
    except BaseException:
        stop_running()
        raise
    states = {name: future.state for name, future in futures.items()}
    failed = {name: state for name, state in states.items() if not state.is_completed()}
    if failed:
        raise StageFailedError("; ".join(_failure_text(name, state) for name, state in failed.items()))
    return {name: str(state.result()) for name, state in states.items()}


def _failure_text(name: str, state: "State[Any]") -> str:
    if state.name == "NotReady":
        return f"{name}: not run, a stage it needs failed"
    return str(state.message or "").removeprefix("Task run encountered an exception ") or f"{name}: {state.name}"
