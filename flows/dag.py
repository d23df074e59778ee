"""The pipeline as DVC sees it: dvc.yaml is the only DAG, the flow is built from what DVC makes of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.base.errors import UserError

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
FOUNDRY = (sys.executable, "-m", "flows.cli")  # the code of the folder it starts in


def run_dvc(root: Path, *arguments: str) -> str:
    """One dvc command in `root`; its standard output, stripped.

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
    """One stage. From its `meta` in dvc.yaml: gpu (takes the GPU slot), timeout_hours, publishes (to the registry)."""

    name: str
    needs: tuple[str, ...]
    gpu: bool = False
    timeout_hours: float = 24.0
    publishes: bool = False


def read_dag(root: Path) -> dict[str, Stage]:
    """Every stage of the repository, each after what it needs.

    Raises:
        UserError: `root` is no DVC repository, or dvc.yaml does not parse.
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


def _name(stage: Any, root: Path) -> str:
    """As dvc's commands take it in `root`; DVC's own `addressing` is relative to this process' folder."""
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
        gpu=bool(meta.get("gpu", False)),
        timeout_hours=float(meta.get("timeout_hours", 24)),
        publishes=bool(meta.get("publishes", False)),
    )


def select(dag: dict[str, Stage], targets: list[str]) -> dict[str, Stage]:
    """`targets` and everything they need; the whole when none is named.

    Raises:
        UserError: a target is no stage.
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
    """The stages of `dag` that may have to run: what `dvc status` names, and all that needs one of those.

    Raises:
        UserError: dvc failed, with its last line.
    """
    stale = set(json.loads(run_dvc(root, "status", "--json", *dag) or "{}"))
    for name, stage in dag.items():
        if stale.intersection(stage.needs):
            stale.add(name)
    return stale & set(dag)
