"""Read the stage graph and its status from DVC: dvc.yaml is the only DAG; the flow is built from it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.tracking.versions import locked_outputs

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
FOUNDRY = (sys.executable, "-m", "flows.cli")  # the code of the folder it starts in


def run_dvc(root: Path, *arguments: str) -> str:
    """Run one dvc command in `root`; returns its standard output, stripped.

    Raises:
        UserError: dvc failed, with its last line.
    """
    done = subprocess.run(
        [*DVC, *arguments], cwd=root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise UserError(f"dvc {arguments[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Stage:
    """One stage. From its `meta` in dvc.yaml: gpu (takes the GPU slot), timeout_hours, publishes (to the registry).

    always: DVC's `always_changed`: it runs every time, and its output decides whether later stages run.
    """

    name: str
    needs: tuple[str, ...]
    always: bool = False
    gpu: bool = False
    timeout_hours: float = 24.0
    publishes: bool = False


def read_dag(root: Path) -> dict[str, Stage]:
    """Every stage of the repository, in topological order.

    Raises:
        UserError: `root` is not a DVC repository, or dvc.yaml does not parse.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            name = partial(_name, root=root)
            order = networkx.lexicographical_topological_sort(graph.reverse(), key=name)
            return {name(stage): _stage(stage, graph, name) for stage in order}
    except DvcException as problem:
        raise UserError(f"{root}: {' '.join(str(problem).split())}") from None


def outputs_of(name: str, root: Path) -> dict[str, str]:
    """path -> md5 of the stage's outputs in dvc.lock."""
    return {path: out["md5"] for path, out in locked_outputs(root).items() if out["stage"] == name}


def _name(stage: Any, root: Path) -> str:
    """The stage's name for dvc commands in `root`; DVC's own `addressing` is relative to the current folder."""
    file = Path(stage.path).resolve().relative_to(root.resolve()).as_posix()
    own = getattr(stage, "name", None)
    if file == "dvc.yaml":
        return str(own)
    return f"{file}:{own}" if own else file


def _stage(stage: Any, graph: Any, name: Callable[[Any], str]) -> Stage:
    meta = stage.meta or {}
    return Stage(
        name=name(stage),
        needs=tuple(sorted(name(needed) for needed in graph.successors(stage))),
        always=stage.always_changed,
        gpu=bool(meta.get("gpu", False)),
        timeout_hours=float(meta.get("timeout_hours", 24)),
        publishes=bool(meta.get("publishes", False)),
    )


def select(dag: dict[str, Stage], targets: list[str]) -> dict[str, Stage]:
    """`targets` and all their dependencies; the whole DAG if there are no targets.

    Raises:
        UserError: a target is not a stage.
    """
    wanted: set[str] = set()
    waiting = list(targets or dag)
    while waiting:
        name = waiting.pop()
        if name not in dag:
            raise UserError(f"{name}: no such stage in dvc.yaml; stages: {', '.join(dag)}")
        if name not in wanted:
            wanted.add(name)
            waiting += dag[name].needs
    return {name: stage for name, stage in dag.items() if name in wanted}


def stale_stages(root: Path, dag: dict[str, Stage]) -> set[str]:
    """The stages of `dag` that may have to run: those that `dvc status` lists, and all that depend on them.

    A stage with `always_changed` counts only if something else of it has changed: run it first.

    Raises:
        UserError: dvc failed, with its last line.
    """
    changes = json.loads(run_dvc(root, "status", "--json", *dag) or "{}")
    stale = {name for name, changed in changes.items() if changed != ["always changed"]}
    for name, stage in dag.items():
        if stale.intersection(stage.needs):
            stale.add(name)
    return stale & set(dag)
