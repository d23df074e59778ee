"""Commit the code and dvc.lock of a run under refs/runs, without touching the user's branch, index or files.

A run's dvc.lock is newer than HEAD, and the code may have uncommitted edits: `snapshot` writes both into a commit under
refs/runs/<id>, with a temporary index. `git worktree add DIR refs/runs/<id>` restores it, `dvc get . PATH --rev
<commit>` restores its data, and `git push origin 'refs/runs/*'` shares it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from components.base.errors import UserError

VERSIONED = ("dvc.yaml", "dvc.lock", "params.yaml", "components")


def snapshot(root: Path, identity: str, message: str) -> str:
    """Commit the checkout's tracked files, dvc.lock and components as refs/runs/`identity`; returns the commit.

    Empty, with a warning on stderr that has git's own words, if git refuses: the work of the run is not lost for it.
    """
    try:
        return _commit(root, identity, message)
    except UserError as problem:
        print(f"warning: {problem}; run {identity} has no commit, so it cannot be reproduced", file=sys.stderr)
        return ""


def _commit(root: Path, identity: str, message: str) -> str:
    head = git(root, "rev-parse", "--verify", "HEAD")
    with tempfile.TemporaryDirectory() as scratch:
        own_index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(root, "read-tree", "HEAD", env=own_index)
        git(root, "add", "--update", env=own_index)
        new = git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *VERSIONED)
        lock = "dvc.lock\0" if (root / "dvc.lock").exists() else ""  # also if the user's .gitignore excludes it
        git(root, "update-index", "--add", "-z", "--stdin", env=own_index, text=new + lock)
        tree = git(root, "write-tree", env=own_index)
    commit = git(root, "commit-tree", tree, "-p", head, "-m", message, env=_author(root))
    git(root, "update-ref", run_ref(identity), commit)
    return commit


def commit_lock(root: Path, identity: str, message: str) -> str:
    """Put today's dvc.lock into the commit refs/runs/`identity`; returns the new commit, empty if there is none.

    Code and parameters stay those of the start of the run, also if the user has edited them since.
    """
    begun = git(root, "rev-parse", "--verify", "--quiet", run_ref(identity), check=False)
    if not begun:
        return ""
    with tempfile.TemporaryDirectory() as scratch:
        own_index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(root, "read-tree", begun, env=own_index)
        git(root, "update-index", "--add", "--", "dvc.lock", env=own_index)
        tree = git(root, "write-tree", env=own_index)
    commit = git(root, "commit-tree", tree, "-p", f"{begun}^", "-m", message, env=_author(root))
    git(root, "update-ref", run_ref(identity), commit)
    return commit


def run_ref(identity: str) -> str:
    return f"refs/runs/{identity}"


def resolve_commit(root: Path, run: str) -> str:
    """The commit of a run id or of any git revision.

    Raises:
        UserError: it is neither, in this repository.
    """
    for name in (run_ref(run), run):
        commit = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
        if commit:
            return commit
    raise UserError(f"{run}: neither a run under refs/runs/ nor a git revision; list them: git for-each-ref refs/runs")


def git(root: Path, *arguments: str, check: bool = True, env: dict[str, str] | None = None, text: str = "") -> str:
    """Run one git command in `root` with `text` as input; returns its output, without line ends around it.

    With check=False a failure returns "".

    Raises:
        UserError: git failed (check=True), with git's error message.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            capture_output=True,
            input=text,
            text=True,
            errors="surrogateescape",  # names of files may be any bytes
            check=False,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError:
        if check:
            raise UserError("git is not installed, or not on PATH") from None
        return ""
    if done.returncode and check:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return "" if done.returncode else done.stdout.strip("\n")


def _author(root: Path) -> dict[str, str]:
    """The user's git identity; a default name if git has none, as on a worker."""
    if git(root, "config", "user.email", check=False):
        return {}
    name, address = "Embedding Foundry", "foundry@localhost"
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": address,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": address,
    }
