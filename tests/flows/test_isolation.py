"""Isolated runs do not touch the user's files, share what was computed, and can be run again."""

import subprocess
from pathlib import Path

import pytest

from components.base.errors import UserError
from flows import isolation
from flows.dag import read_dag, run_dvc, stale_stages
from flows.pipeline import pipeline
from flows.reproduce import reproduce, restore


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_commands")
def test_isolated_run_reproduction_and_no_change_the_next_night(toy: Path) -> None:
    (toy / "input.txt").write_text("an edit that is not committed\n")
    assert set(pipeline(root=str(toy), isolated=True).values()) == {"executed"}
    assert not (toy / "outputs").exists()
    assert not (toy / "dvc.lock").exists()
    assert "runs/" not in git(toy, "worktree", "list"), "the worktree is gone"

    assert set(pipeline(root=str(toy), isolated=True).values()) == {"unchanged"}, "the next night"

    run = git(toy, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/runs").splitlines()[0]
    again = {item.path: item.verdict for item in reproduce(toy, run)}
    assert again == dict.fromkeys(("outputs/source", "outputs/left", "outputs/right"), "identical")  # join publishes

    restore(toy, run, toy.parent / "back")
    assert "hello" in (toy.parent / "back/outputs/join/out.txt").read_text()
    with pytest.raises(UserError, match="exists already"):
        restore(toy, run, toy.parent / "back")


@pytest.mark.slow
def test_parameters_are_validated_and_recipes_named(toy: Path) -> None:
    with pytest.raises(UserError, match=r"train.stepz: unknown key; did you mean train.steps?"):
        isolation.change_parameters(toy, "", {"train.stepz": 1})
    with pytest.raises(UserError, match=r"no recipe .nonsense. .*there are .*starter"):
        isolation.change_parameters(toy, "nonsense", {})


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_caches_are_shared_and_work_is_not(toy: Path) -> None:
    for name in ("vectors", "work"):
        (toy / ".cache" / name).mkdir()
    with isolation.isolated_worktree(toy, "HEAD", "one") as place:
        assert (place / ".cache/vectors").resolve() == (toy / ".cache/vectors").resolve()
        assert not (place / ".cache/work").exists()
        (place / ".cache" / "fresh").mkdir()
        assert run_dvc(place, "cache", "dir") == str(toy / ".dvc" / "cache")
        assert isolation.abandoned_worktrees(toy) == []
        assert stale_stages(place, read_dag(place))
    assert (toy / ".cache/fresh").is_dir()
    assert (toy / ".cache/tracking").stat().st_mode & 0o077 == 0, "as a stage makes it"
    assert not place.exists()
    with (
        pytest.raises(UserError, match="git worktree"),
        isolation.isolated_worktree(toy, "no-such-revision", "two"),
    ):
        pass
    assert not list((toy / ".cache/runs").iterdir())


@pytest.mark.usefixtures("warm_commands")
def test_a_hook_that_fails_and_a_torn_note_of_a_dead_run_harm_no_run(toy: Path) -> None:
    hook = toy / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nexit 3\n")
    hook.chmod(0o755)
    with isolation.isolated_worktree(toy, "HEAD", "pipeline-1") as place:
        assert (place / "dvc.yaml").exists()
    (toy / ".cache" / "runs" / "pipeline-2.owner").write_text('{"pid": 1')
    assert isolation.abandoned_worktrees(toy) == [], "whose it is cannot be proved"
