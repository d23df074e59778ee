"""`share: true`: two machines that have only remotes in common; the second finds what the first has made."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.isolation import push_runs
from flows.pipeline import pipeline


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_commands")
def test_the_next_machine_has_nothing_to_do(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, store = toy.parent / "origin.git", toy.parent / "store"
    run(toy, "git", "clone", "--quiet", "--bare", ".", str(origin))
    machines = [machine(origin, store, toy.parent / name) for name in ("one", "two")]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{toy / 'mlflow.db'}")

    assert set(pipeline(root=str(machines[0]), isolated=True, share=True).values()) == {"executed"}
    assert set(pipeline(root=str(machines[1]), isolated=True, share=True).values()) == {"unchanged"}

    (machines[1] / "input.txt").write_text("other\n")
    run(machines[1], "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--all", "-m", "other")
    assert set(pipeline(root=str(machines[1]), isolated=True, share=True).values()) == {"executed"}


@pytest.mark.usefixtures("warm_commands")
def test_no_remote_is_one_line(toy: Path) -> None:
    from components.base.errors import UserError

    with pytest.raises(UserError, match=r"dvc push: .*remote"):
        push_runs(toy)


def machine(origin: Path, store: Path, place: Path) -> Path:
    """A fresh clone with an empty DVC cache; `store` is the DVC remote."""
    run(origin, "git", "clone", "--quiet", str(origin), str(place))
    run(place, sys.executable, "-m", "dvc", "remote", "add", "--local", "--default", "store", str(store))
    return place


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)
