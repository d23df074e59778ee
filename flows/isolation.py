"""Run in a git worktree that shares the DVC cache, so that scheduled runs don't touch the user's files.

The worktree is below .cache/runs. Its stages use the same caches (vectors, downloads) and the same MLflow store as the
checkout, and store their outputs in the shared DVC cache and in a commit under refs/runs.

`dvc exp run --temp` (tried with DVC 3.67) does less. A failed experiment leaves no ref and its folder is removed, so
finished stages and a killed training's checkpoints are lost. Ignored folders such as .cache are missing, unless
`--copy-paths` copies them, vectors included. And it runs the whole pipeline in one call, while the flow runs each stage
with its own GPU slot, retries and timeout.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.base.files import whole_file
from components.base.locks import try_lock
from components.base.owner import describe_owner, owner_state, read_owner
from components.config.extends import recipe_file
from components.config.recipes import parameters_text
from components.tracking.snapshot import git, run_ref
from components.tracking.store import tracking_folder
from flows.dag import read_dag, run_dvc, stale_stages

PRIVATE = {"work", "runs", "prefect", "locks"}  # of .cache: two runs must not share these
LATEST = "latest"
NO_HOOKS = {  # environment of git: a post-checkout hook (dvc's, git-lfs's) that fails fails the run
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": os.devnull,
}


@contextmanager
def isolated_worktree(root: Path, revision: str, identity: str) -> Iterator[Path]:
    """A worktree of `revision` with its outputs checked out; always removed afterwards.

    Raises:
        UserError: `root` is not a git and DVC repository, or has no such revision.
    """
    place = root / ".cache" / "runs" / identity
    place.parent.mkdir(parents=True, exist_ok=True)
    note, lock = owner_note(place), owner_lock(place)
    with try_lock(lock):
        with whole_file(note) as partial:
            partial.write_text(json.dumps(describe_owner(root)), encoding="utf-8")
        yield from _worktree(root, revision, place)


def _worktree(root: Path, revision: str, place: Path) -> Iterator[Path]:
    try:
        git(root, "worktree", "add", "--detach", "--", str(place), revision, env=NO_HOOKS)
        share_dvc(root, place)
        _share_cache(root / ".cache", place / ".cache")
        yield place
    finally:
        _give_back_cache(root / ".cache", place / ".cache")
        remove_worktree(root, place)


def owner_note(place: Path) -> Path:
    """The file next to a worktree that records its owner process."""
    return place.with_name(f"{place.name}.owner")


def owner_lock(place: Path) -> Path:
    """The file next to a worktree that its owner keeps locked."""
    return place.with_name(f"{place.name}.lock")


def abandoned_worktrees(root: Path) -> list[Path]:
    """Worktrees whose owner process is dead; one with a note that cannot be read is left."""
    folder = root / ".cache" / "runs"
    notes = sorted(folder.glob("*.owner")) if folder.exists() else []
    places = {note.with_suffix(""): read_owner(note.read_text(encoding="utf-8")) for note in notes}
    return [place for place, who in places.items() if owner_state(who, owner_lock(place)) == "dead"]


def remove_worktree(root: Path, place: Path) -> None:
    """Remove a worktree, also an incomplete one."""
    git(root, "worktree", "remove", "--force", "--force", str(place), check=False)
    shutil.rmtree(place, ignore_errors=True)
    git(root, "worktree", "prune", check=False)
    owner_note(place).unlink(missing_ok=True)
    owner_lock(place).unlink(missing_ok=True)


def begin_from_newest(root: Path, place: Path, pull: bool = False) -> None:
    """Check out the dvc.lock that leaves the fewest stale stages: the revision's own, or the last successful run's.

    The last run's dvc.lock is on no branch; without it an unchanged nightly run would run again every night.
    """
    lock, ref = place / "dvc.lock", run_ref(LATEST)
    own = lock.read_bytes() if lock.exists() else b""
    stale = _stale_with(place, own, pull)
    if not stale or not git(root, "rev-parse", "--verify", "--quiet", ref, check=False):
        return
    if _stale_with(place, git(place, "show", f"{ref}:dvc.lock").encode() + b"\n", pull) >= stale:
        _stale_with(place, own, pull)


def _stale_with(place: Path, lock: bytes, pull: bool) -> int:
    """Check out this dvc.lock (empty: none) with its outputs; returns the number of stale stages."""
    (place / "dvc.lock").unlink(missing_ok=True)
    if lock:
        (place / "dvc.lock").write_bytes(lock)
    checkout_outputs(place, pull)
    return len(stale_stages(place, read_dag(place)))


def fetch_runs(root: Path) -> None:
    """Fetch the commits of earlier runs from the git remote; no-op without a remote."""
    git(root, "fetch", "--quiet", "origin", "+refs/runs/*:refs/runs/*", check=False)


def push_runs(root: Path) -> None:
    """Push data, cached results and the commits of runs to the DVC and git remotes.

    Raises:
        UserError: there is no remote, or the push failed.
    """
    run_dvc(root, "push", "--run-cache")
    git(root, "push", "--quiet", "origin", "+refs/runs/*:refs/runs/*")


def change_parameters(place: Path, recipe: str, changes: Mapping[str, Any]) -> None:
    """Write a recipe, then single values (`train.steps`: 50), to the params.yaml of a worktree.

    Raises:
        UserError: no such recipe, or the result is not a valid parameter file (the key is named).
    """
    path = place / "params.yaml"
    source = recipe_file(recipe, place / "recipes") if recipe else path
    path.write_text(parameters_text(source, changes), encoding="utf-8")


def share_dvc(root: Path, place: Path) -> None:
    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copyfile(local, place / ".dvc" / "config.local")
    cache = run_dvc(root, "cache", "dir")
    run_dvc(place, "cache", "dir", "--local", str((root / cache).resolve()))


def checkout_outputs(place: Path, pull: bool = False) -> None:
    """Check out the outputs in dvc.lock, as far as the cache (with `pull`, also the remote) has them."""
    run_dvc(place, "pull" if pull else "checkout", "--quiet", "--force", "--allow-missing")


def _share_cache(shared: Path, own: Path) -> None:
    own.mkdir()
    tracking_folder(shared.parent)
    for entry in shared.iterdir():
        if entry.name not in PRIVATE:
            (own / entry.name).symlink_to(entry.resolve())


def _give_back_cache(shared: Path, own: Path) -> None:
    """Move caches that did not exist before this run to the checkout."""
    for entry in own.iterdir() if own.exists() else []:
        target = shared / entry.name
        if not entry.is_symlink() and entry.name not in PRIVATE and not target.exists():
            entry.rename(target)
