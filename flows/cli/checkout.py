"""The checkout a command works in, and whose code it runs.

The script `foundry` imports the installed code, which may be another checkout's: an isolated run works in a git
worktree, and two clones may share an environment. The code of the current checkout must run, so the process starts
itself again with that checkout first on PYTHONPATH.
"""

import os
import sys
from pathlib import Path

import components
from components.base.checkout import find_checkout
from components.base.errors import UserError
from components.tracking.snapshot import git


def enter_checkout() -> Path:
    """Change to the root of the checkout and return it; a command works from any folder below.

    Raises:
        UserError: the current folder is in no checkout.
    """
    root = find_checkout(Path.cwd())
    if root is None:
        raise UserError(f"{Path.cwd()}: no checkout here (no dvc.yaml in it or above); change to yours with cd")
    os.chdir(root)
    return root


def enter_for_flows() -> Path:
    """`enter_checkout` before a command that imports Prefect, which makes its own folder but not the one above."""
    root = enter_checkout()
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    return root


def require_git(root: Path) -> None:
    """Check that git works in `root` before anything runs; a warning if it refuses another user's folder.

    Raises:
        UserError: git is not installed, or `root` is no repository, without which DVC does not run.
    """
    try:
        git(root, "rev-parse", "--git-dir")
    except UserError as problem:
        if "safe.directory" in str(problem):
            print(f"warning: {problem}; until then runs are not committed and cannot be reproduced", file=sys.stderr)
        elif "not a git repository" in str(problem):
            raise UserError(
                f"{root}: not a git repository (a downloaded zip?); clone it instead, or: "
                "git init && git add -A && git commit -m start"
            ) from None
        else:
            raise


def use_code_of_checkout() -> None:
    """Go on as the same command with the code of the current checkout, if another one was imported.

    Raises:
        UserError: the checkout's revision has no command `foundry`.
    """
    root = find_checkout(Path.cwd())
    if root is None or not (root / "components").is_dir():
        return
    own, imported = (root / "components").resolve(), Path(str(components.__file__)).resolve().parent
    if own == imported:
        return
    if not (root / "flows" / "cli").is_dir():
        raise UserError(f"{root}: this revision has no command foundry; see its own README, or check out a newer one")
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if path[0] == str(root):
        raise RuntimeError(f"{imported} is imported although PYTHONPATH={root}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, path)])}
    # -P: the current folder stays off sys.path; below components/ it would hide modules of the standard library.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "flows.cli", *sys.argv[1:]], environment)
