"""The thin entry point every stage shares: `foundry stage NAME`.

Reads the typed parameters, opens the MLflow run, hands the stage a `StageContext`, and moves what it wrote into
place only when it has finished. A stage is a module with one function:

    def run(context: StageContext) -> dict[str, float]   # writes files under context.out, returns its metrics
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.base import watchdog
from components.base.errors import UserError
from components.base.hashing import content_hash
from components.base.log import set_up_logging
from components.base.machine import keep_freed_memory, limit_threads
from components.config import Config, load_config
from components.stage.context import Finisher, StageContext
from components.stage.launch import launch
from components.stage.nodes import find_rendezvous
from components.stage.stages import STAGES, stage_function
from components.tracking.describe import declared_params
from components.tracking.runs import stage_run
from components.tracking.versions import declared_names

log = logging.getLogger(__name__)


def run_stage(name: str, root: Path, after: Sequence[Finisher] = ()) -> dict[str, float]:
    """Run one stage in the checkout `root` and put its folder in place. Raises UserError on bad input.

    after: called like the stage's own finishers, after them; they may add to the run and write no output.
    """
    if name not in STAGES:
        raise UserError(f"no such stage; stages: local_files, {', '.join(STAGES)}")
    config = load_config(root / "params.yaml")
    limit_threads(config.threads)
    keep_freed_memory()
    set_up_logging(name, root / ".cache" / "logs" / f"{name}.log", progress_bars=name == "fetch")
    outputs, scratch = root / "outputs", root / ".cache" / "work"
    out = _emptied(scratch / f"{name}.out")
    finishers: list[Finisher] = []
    with stage_run(name, config, root) as live:
        context = StageContext(
            config=config,
            outputs=outputs,
            out=out,
            work=_work_folder(name, config, root, scratch),
            cache=root / ".cache",
            log=live,
            publish=live.publish,
            on_finish=finishers.append,
        )
        metrics = _metrics(name, context)
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        live.finish(metrics, out)
        for finisher in (*finishers, *after):
            finisher(live.journal, root, out)
    _move_into_place(out, outputs / name)
    log.info("wrote %s (%.1f MB)", outputs / name, _size(outputs / name) / 1e6)
    shutil.rmtree(context.work)
    return metrics


def _metrics(name: str, context: StageContext) -> dict[str, float]:
    train = context.config.train
    if name == "train" and (train.processes > 1 or train.nodes > 1):
        rendezvous = find_rendezvous(train.nodes, train.rendezvous)
        return launch(name, context, train.processes, train.restarts, rendezvous)
    if name == "train":
        with watchdog.watched(name, train.hang_seconds, context.work / "hung.txt"):
            return stage_function(name)(context)
    return stage_function(name)(context)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _work_folder(name: str, config: Config, root: Path, scratch: Path) -> Path:
    """The stage's resumable scratch, named by its dependencies in dvc.yaml: other inputs never find its files.

    Raises:
        UserError: a dependency is missing.
    """
    params = declared_params(config, declared_names(root, name, "params"))
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for dependency in declared_names(root, name, "deps"):
        if not (root / dependency).exists():
            raise UserError(f"{dependency}: missing; run what makes it first (dvc repro {name})")
        digest.update(content_hash(root / dependency).encode())
    folder = scratch / f"{name}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _move_into_place(out: Path, final: Path) -> None:
    final.parent.mkdir(exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    out.replace(final)
