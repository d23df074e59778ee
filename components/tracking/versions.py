"""DVC md5s of a stage's inputs and outputs: from dvc.lock, or computed before DVC records an output."""

import hashlib
import json
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from components.config.flatten import value_at


def stage_entry(root: Path, stage: str) -> dict[str, Any]:
    """The stage's entry in dvc.yaml; empty if there is none."""
    entry: dict[str, Any] = _read(root / "dvc.yaml").get("stages", {}).get(stage, {})
    return entry


def stage_names(root: Path) -> list[str]:
    """The stages of dvc.yaml."""
    return list(_read(root / "dvc.yaml").get("stages", {}))


def declared_names(root: Path, stage: str, what: str) -> list[str]:
    """The names under a stage's deps, outs or params, whether or not they carry options."""
    names: list[str] = []
    for item in stage_entry(root, stage).get(what, []):
        if isinstance(item, str):
            names.append(item)
        elif what == "params":
            names += [key for keys in item.values() for key in keys or []]
        else:
            names += list(item)
    return names


def locked_stages(root: Path) -> dict[str, dict[str, Any]]:
    """dvc.lock's stages; empty before the first run."""
    stages: dict[str, dict[str, Any]] = _read(root / "dvc.lock").get("stages", {})
    return stages


def locked_outputs(root: Path) -> dict[str, dict[str, str]]:
    """Every output in dvc.lock: path -> {md5, stage}."""
    return {
        out["path"]: {"md5": str(out["md5"]), "stage": stage}
        for stage, entry in locked_stages(root).items()
        for out in entry.get("outs", [])
    }


def stage_inputs(root: Path, stage: str) -> list[dict[str, str]]:
    """The outputs of other stages that `stage` reads, from dvc.lock: name, path, md5 and the stage that made it."""
    known = locked_outputs(root)
    paths = [d for d in declared_names(root, stage, "deps") if d in known]
    return [{"name": known[p]["stage"], "path": p, "md5": known[p]["md5"], "stage": known[p]["stage"]} for p in paths]


def ancestry(root: Path, stage: str) -> dict[str, str]:
    """path -> md5 of all ancestors of `stage`, transitively: other stages' outputs, and their code and files.

    The stage's own code is left out: dvc.lock records it only after the stage has ended. Its git commit identifies it.
    """
    stages, made_by = locked_stages(root), locked_outputs(root)
    found: dict[str, str] = {}
    waiting = [path for path in declared_names(root, stage, "deps") if path in made_by]
    while waiting:
        path = waiting.pop()
        if path in found or path not in made_by:
            continue
        found[path] = made_by[path]["md5"]
        for dependency in stages[made_by[path]["stage"]].get("deps", []):
            waiting.append(dependency["path"])
            if dependency["path"] not in made_by:
                found[dependency["path"]] = str(dependency["md5"])
    return dict(sorted(found.items()))


def current_stages(root: Path) -> dict[str, str]:
    """Stage -> md5 of its output, for the stages of dvc.lock whose inputs and parameters are today's.

    After a run of some targets, a stage behind them may still be that of an earlier run: it is left out.
    """
    stages, made_by, values = locked_stages(root), locked_outputs(root), _read(root / "params.yaml")
    current: dict[str, str] = {}
    for stage in _in_order(stages, made_by):
        entry = stages[stage]
        inputs = [dep for dep in entry.get("deps", []) if dep["path"] in made_by]
        read = entry.get("params", {}).get("params.yaml", {})
        if (
            entry.get("outs")
            and all(made_by[dep["path"]]["md5"] == str(dep["md5"]) for dep in inputs)
            and all(made_by[dep["path"]]["stage"] in current for dep in inputs)
            and all(value_at(values, key) == value for key, value in read.items())
        ):
            current[stage] = str(entry["outs"][0]["md5"])
    return current


def _in_order(stages: dict[str, dict[str, Any]], made_by: dict[str, dict[str, str]]) -> list[str]:
    """The stages of dvc.lock, each after those whose outputs it reads."""
    needs = {
        name: {made_by[dep["path"]]["stage"] for dep in entry.get("deps", []) if dep["path"] in made_by}
        for name, entry in stages.items()
    }
    return list(TopologicalSorter(needs).static_order())


def dvc_md5(path: Path) -> str:
    """The md5 that DVC will write to dvc.lock for this output: of the file, or of the folder's listing (`.dir`)."""
    if path.is_file():
        return _file_md5(path)
    entries = [
        {"md5": _file_md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in path.rglob("*")
        if file.is_file()
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def code_version(root: Path) -> dict[str, str]:
    """git.commit and git.dirty of the checkout; empty outside git."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"git.commit": commit, "git.dirty": "true" if changed else "false"}


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _file_md5(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    return (yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) or {}) if file.exists() else {}
