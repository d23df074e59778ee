"""An edit of the user's own files is seen by plain `dvc repro`, by the flow and by an isolated run; nothing else is."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.files import whole_file
from flows import isolation
from flows.dag import read_dag, run_dvc, stale_stages
from flows.pipeline import pipeline
from flows.reproduce import reproduce, restore
from tests.flows.test_isolation import git
from tests.flows.test_pipeline import runs
from tests.samples import ROOT

ROW = '{"query": "how do I reset it", "document": "Hold the button."}\n'
PART = ROW.replace("reset", "start")
SOURCES = {"file": "my/faq.jsonl", "folder": "my/folder", "glob": "my/part-*.jsonl"}
STAGES = {
    "fetch": {
        "cmd": "mkdir -p outputs/fetch && cp outputs/local_files/files.json outputs/fetch",
        "deps": ["outputs/local_files"],
        "outs": ["outputs/fetch"],
    },
    "prepare": {
        "cmd": "mkdir -p outputs/prepare && wc -c outputs/fetch/files.json > outputs/prepare/size",
        "deps": ["outputs/fetch"],
        "outs": ["outputs/prepare"],
    },
}


@pytest.fixture
def own(toy: Path) -> Path:
    """A checkout with the project's own stage local_files, two toy stages after it, and three untracked sources."""
    lists = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["local_files"]
    stages = {"local_files": {**lists, "deps": ["input.txt"]}, **STAGES}
    (toy / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    origins: dict[str, dict[str, Any]] = {
        name: {"kind": "local", "path": path, "licence": "internal"} for name, path in SOURCES.items()
    }
    origins["glob"]["keep"] = False
    sources = {f"fetch.sources.{name}": {"origin": origin, "format": "jsonl"} for name, origin in origins.items()}
    isolation.change_parameters(toy, "", sources)
    git(toy, "commit", "--quiet", "--all", "--message", "own data")
    for name in ("faq.jsonl", "folder/a.jsonl", "folder/deep/b.jsonl"):
        write(toy / "my" / name)
    write(toy / "my" / "part-1.jsonl", PART)
    return toy


def write(path: Path, text: str = ROW) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text)


def run_dvc_repro(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Plain `dvc repro fetch`; returns the stages that ran."""
    from dvc.repo import Repo
    from dvc.stage.run import cmd_run

    ran: set[str] = set()

    def note(stage: Any, *arguments: Any, **options: Any) -> None:
        ran.add(stage.name)
        cmd_run(stage, *arguments, **options)

    monkeypatch.setattr("dvc.stage.run.cmd_run", note)
    with Repo(str(root)) as repo:
        repo.reproduce("fetch")
    return ran


CHANGES: dict[str, Callable[[Path], Any]] = {
    "edited row": lambda my: write(my / "faq.jsonl", ROW.replace("Hold", "Push")),
    "added row": lambda my: write(my / "faq.jsonl", ROW * 2),
    "file added to a folder": lambda my: write(my / "folder/deep/c.jsonl"),
    "new match of a glob": lambda my: write(my / "part-2.jsonl"),
    "file deleted": lambda my: (my / "folder/a.jsonl").unlink(),
}


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_plain_dvc_sees_every_change_and_nothing_else(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_dvc_repro(own, monkeypatch) == {"local_files", "fetch"}
    unchanged: dict[str, Callable[[Path], Any]] = {
        "nothing": lambda my: None,
        "touched": lambda my: os.utime(my / "faq.jsonl"),
    }
    for what, change in unchanged.items():
        change(own / "my")
        assert run_dvc_repro(own, monkeypatch) == {"local_files"}, what
    for what, change in CHANGES.items():
        change(own / "my")
        assert run_dvc_repro(own, monkeypatch) == {"local_files", "fetch"}, what
    dag = read_dag(own)
    assert dag["local_files"].always
    assert stale_stages(own, {name: dag[name] for name in ("local_files", "fetch")}) == set()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "warm_commands")
def test_the_flow_and_an_isolated_run_see_an_edit_and_an_old_run_has_what_it_read(own: Path) -> None:
    stages = ("local_files", "fetch", "prepare")
    give_remotes(own)
    assert pipeline(root=str(own), isolated=True, share=True) == dict.fromkeys(stages, "executed")
    first, known = newest_run(own), len(runs(own))
    assert pipeline(root=str(own), isolated=True) == dict.fromkeys(stages, "unchanged")
    assert len(runs(own)) == known, "an unchanged pipeline leaves no MLflow run"

    write(own / "my/faq.jsonl", ROW * 2)
    assert pipeline(root=str(own), isolated=True)["fetch"] == "executed"

    (own / "my/part-1.jsonl").unlink()  # of it no copy is kept
    again = {item.path: (item.verdict, item.right) for item in reproduce(own, first)}
    assert again == {
        "outputs/fetch": ("not rerun, since my/part-*.jsonl changed or is not here", True),
        "outputs/prepare": ("identical", True),
    }

    clone = own.parent / "clone"
    git(own, "clone", "--quiet", "--branch", "main", str(own.parent / "origin.git"), str(clone))
    git(clone, "config", "user.name", "t")
    (clone / ".cache").mkdir()
    write(clone / "my/part-1.jsonl", PART)
    compared = {item.path: (item.verdict, item.right) for item in reproduce(clone, first)}
    assert compared == dict.fromkeys(("outputs/fetch", "outputs/prepare"), ("identical", True)), "read from the copies"
    restore(clone, first, own.parent / "restored")
    listed = json.loads((own.parent / "restored/outputs/fetch/files.json").read_text())
    digest = hashlib.sha256(ROW.encode()).hexdigest()
    assert listed["fetch.sources.file.origin"]["files"]["faq.jsonl"] == digest
    assert (own.parent / "restored/outputs/local_files/files" / digest).read_text() == ROW


def give_remotes(root: Path) -> None:
    """A git and a DVC remote, both committed, as a team has them."""
    origin = root.parent / "origin.git"
    git(root, "init", "--quiet", "--bare", str(origin))
    git(root, "remote", "add", "origin", str(origin))
    run_dvc(root, "remote", "add", "--default", "store", str(root.parent / "store"))
    git(root, "commit", "--quiet", "--all", "--message", "remotes")
    git(root, "push", "--quiet", "origin", "main")


def newest_run(root: Path) -> str:
    return git(root, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/runs").splitlines()[0]
