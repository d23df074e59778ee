"""Outputs of the pipeline's stages, kept by what they were made from, so that variants of a recipe share them.

A stage's key is what dvc.yaml declares of it: the values of its parameters and the content of the outputs it reads.
The code is that of the folder and stays the same. A change of `train` makes `score` run again; where its output has
the same bytes, `mine` does not.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rehearsal import start
from components.base.hashing import content_hash, json_hash
from components.config import Config
from components.config.load import parse_config
from components.tracking.describe import declared_params

Start = Callable[[Path, str, str], "subprocess.Popen[bytes]"]
UNUSED = {"train": ("export",)}  # large parts of an output that no later stage of a comparison reads


@dataclass(frozen=True)
class Kept:
    """A stage's output: sha256 of its content, CPU seconds of making it, its folder."""

    content: str
    cpu_seconds: float
    folder: Path


class StageStore:
    """The stages of one folder (benchmarks/rehearsal.py prepares it), and their outputs in `folder`/stages."""

    def __init__(self, folder: Path, start: Start = start) -> None:
        self.folder, self._start = folder, start
        self.stages = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    def needed(self, target: str) -> list[str]:
        """`target` and every stage that it needs, in the order of dvc.yaml."""
        wanted, open_ends = {target}, [target]
        while open_ends:
            before = set(self._inputs(open_ends.pop())) - wanted
            wanted |= before
            open_ends += sorted(before)
        return [name for name in self.stages if name in wanted]

    def bring(self, target: str, raw: Mapping[str, Any], seeds: Mapping[str, int], parent: str) -> dict[str, Kept]:
        """The outputs of `target` and of what it needs, at `folder`/outputs; runs the stages that are not kept.

        Args:
            raw: the parameters.
            seeds: by stage, where it is not that of the parameters.
            parent: of the stages' MLflow runs.
        """
        kept: dict[str, Kept] = {}
        config = parse_config(raw, "params.yaml")
        for name in self.needed(target):
            own = {"seed": seeds.get(name, raw["seed"])}
            place = self.folder / "stages" / f"{name}-{self._key(name, config.model_copy(update=own), kept)}"
            if not (place / "kept.json").is_file():
                self.write_parameters({**raw, **own})
                self._run(name, place, parent)
            self._link(name, place / "out")
            kept[name] = Kept(**json.loads((place / "kept.json").read_text(encoding="utf-8")), folder=place / "out")
        return kept

    def _inputs(self, name: str) -> list[str]:
        paths = self.stages[name].get("deps", [])
        return [path.removeprefix("outputs/") for path in paths if path.startswith("outputs/")]

    def _key(self, name: str, config: Config, kept: Mapping[str, Kept]) -> str:
        read = declared_params(config, self.stages[name].get("params", []))
        made_from = [read, {one: kept[one].content for one in self._inputs(name)}]
        return json_hash(made_from)[:16]

    def write_parameters(self, raw: Mapping[str, Any]) -> None:
        """Make `raw` the parameters of the folder."""
        text = yaml.safe_dump(dict(raw), sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def _run(self, name: str, place: Path, parent: str) -> None:
        """Run a stage; its output is in `place` only when it is whole. Exits with its status when it fails."""
        out = self.folder / "outputs" / name
        remove(out)
        forget_killed(self.folder, name)
        process = self._start(self.folder, name, parent)
        _, ended, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode:
            sys.exit(process.returncode)
        for part in UNUSED.get(name, ()):
            shutil.rmtree(out / part, ignore_errors=True)
        draft = place.with_name(f"{place.name}.partial")
        remove(draft)
        draft.mkdir(parents=True)
        out.rename(draft / "out")
        facts = {"content": content_hash(draft / "out"), "cpu_seconds": used.ru_utime + used.ru_stime}
        (draft / "kept.json").write_text(json.dumps(facts), encoding="utf-8")
        remove(place)
        draft.rename(place)

    def _link(self, name: str, kept: Path) -> None:
        out = self.folder / "outputs" / name
        remove(out)
        out.parent.mkdir(exist_ok=True)
        out.symlink_to(os.path.relpath(kept, out.parent))


def forget_killed(folder: Path, name: str) -> None:
    """Remove what a killed run of the stage has left to go on from: its CPU seconds would not be counted."""
    for work in (folder / ".cache" / "work").glob(f"{name}-*"):
        shutil.rmtree(work)


def remove(path: Path) -> None:
    """Remove a folder, or a link to one, if it is there."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
