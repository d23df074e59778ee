"""Rerun the pipeline of a model version or run, and compare every output byte for byte.

    foundry reproduce 7                         a model version (number or alias; MODEL/7 for another model)
    foundry reproduce 20260723-080427-1a2b3c4d  a run under refs/runs, or any git revision
    foundry reproduce 7 --restore DIR           no rerun: only restore code, parameters and data

Code, parameters and expected hashes come from the run's commit. DVC's caches are not used, and no version is
registered. Own files (`kind: local`) that have changed since or are not on this machine are read from the copies that
the run kept in DVC. If it kept none (`keep: false`), fetch's outputs come from there, and only the stages after it run.
A fresh clone needs the git and the DVC remote only.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from components.base.checkout import home
from components.base.errors import UserError
from components.config import load_config
from components.data.local_files import not_to_be_read
from components.tracking.registry import find_version, registry_client, split_version
from components.tracking.snapshot import git, resolve_commit, run_ref
from components.tracking.versions import locked_outputs
from flows.dag import DVC, Stage, read_dag, run_dvc
from flows.isolation import NO_HOOKS, checkout_outputs, isolated_worktree, share_dvc
from flows.processes import run_streamed
from flows.record import close_record, open_record, stage_environment

DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Comparison:
    """One output: the md5 in the original dvc.lock, and the md5 of the rerun (empty: not produced).

    kept: why its stage was not rerun and the original output is used; empty if the stage was rerun.
    """

    path: str
    before: str
    again: str
    kept: str = ""

    @property
    def verdict(self) -> str:
        if self.kept:
            return f"not rerun, {self.kept}"
        return "identical" if self.before == self.again else "DIFFERENT" if self.again else "not made"

    @property
    def right(self) -> bool:
        return self.before == self.again


def find_commit(root: Path, run: str) -> str:
    """The commit of a run id, model version or git revision; runs that only the git remote has are fetched.

    Raises:
        UserError: `run` is none of these.
    """
    try:
        return _find_commit(root, run)
    except UserError:
        git(root, "fetch", "--quiet", "origin", "refs/runs/*:refs/runs/*", check=False)
        return _find_commit(root, run)


def _find_commit(root: Path, run: str) -> str:
    if git(root, "rev-parse", "--verify", "--quiet", run_ref(run), check=False):
        return resolve_commit(root, run)
    try:
        version = find_version(registry_client(root), *split_version(run))
    except UserError as no_version:
        try:
            return resolve_commit(root, run)
        except UserError:
            raise UserError(
                f"{run}: neither a run under refs/runs, a git revision nor a version: {no_version}"
            ) from None
    commit = str(version.tags.get("git.commit", ""))
    if not commit:
        raise UserError(
            f"{version.name} version {version.version} has no git.commit tag: it was not made in a git checkout"
        )
    return resolve_commit(root, commit)


def reproduce(root: Path, run: str) -> list[Comparison]:
    """Rerun everything in a worktree of the run's commit; returns each output's comparison.

    Raises:
        UserError: no such run, or a stage failed.
    """
    commit, identity = find_commit(root, run), f"reproduce-{uuid.uuid4().hex[:8]}"
    with isolated_worktree(root, commit, identity) as place:
        before, dag = locked_outputs(place), read_dag(place)
        kept = keep_own_files(place, dag)
        wanted = [name for name, stage in dag.items() if not (stage.publishes or stage.always or name in kept)]
        tags = {"reproduces": run, "reproduces.commit": commit}
        record = open_record(place, wanted, "reproduce", tags, title=f"reproduce {run}")
        status = "FAILED"
        try:
            command = [*DVC, "repro", "--force", "--no-run-cache", "--single-item", *wanted]
            environment = {**os.environ, **stage_environment(record, home(place))}
            if run_streamed(command, place, environment, print, DAY_SECONDS):
                raise UserError(f"{run}: a stage failed; see the log above")
            again = locked_outputs(place)
            status = "FINISHED"
        finally:
            close_record(record, place, status)
    return [
        Comparison(path, out["md5"], again.get(path, {}).get("md5", ""), kept.get(out["stage"], ""))
        for path, out in before.items()
        if out["stage"] in wanted or out["stage"] in kept
    ]


def keep_own_files(place: Path, dag: dict[str, Stage]) -> dict[str, str]:
    """Restore the original list of own files in `place` with their copies, and, if there are none, the outputs of the
    stages whose own files have changed since.

    Returns the stages that cannot be rerun, each with the reason.

    Raises:
        UserError: neither DVC's cache nor its remote has these outputs.
    """
    lists = [name for name, stage in dag.items() if stage.always]
    if not lists:
        return {}
    checkout_stages(place, lists)
    fetch = load_config(place / "params.yaml").fetch
    changed = not_to_be_read(place / "outputs", fetch, home(place))
    if not changed:
        return {}
    readers = [name for name, stage in dag.items() if set(lists) & set(stage.needs)]
    checkout_stages(place, readers)
    return dict.fromkeys(readers, f"since {', '.join(changed)} changed or is not here")


def checkout_stages(place: Path, stages: list[str]) -> None:
    """Check out the outputs of `stages`, from DVC's cache or, as in a fresh clone, from its remote.

    Raises:
        UserError: neither has them.
    """
    try:
        run_dvc(place, "checkout", "--force", *stages)
    except UserError:
        try:
            run_dvc(place, "pull", "--force", *stages)
        except UserError as problem:
            raise UserError(
                f"the outputs of {', '.join(stages)} are not in DVC's cache, and its remote does not give them "
                f"({problem}); `dvc push` and `git push origin 'refs/runs/*'` where the run was made share them"
            ) from None


def restore(root: Path, run: str, to: Path) -> None:
    """Restore the run's code, parameters and data in a new worktree at `to`.

    Raises:
        UserError: no such run, or `to` exists.
    """
    if to.exists():
        raise UserError(f"{to}: exists already; name a folder that does not")
    git(root, "worktree", "add", "--detach", "--", str(to), find_commit(root, run), env=NO_HOOKS)
    share_dvc(root, to)
    checkout_outputs(to, pull=bool(run_dvc(to, "remote", "list")))
