"""One MLflow run per executed stage: parameters, inputs, live metrics, figures, small outputs.

The run is written to a journal (components/tracking/journal.py) and uploaded by a separate process, so a slow or dead
MLflow does not delay the stage. It is nested below the run of its flow, of the dvc that runs it
(components/tracking/dvc_run.py), or below MLFLOW_RUN_ID.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from components.base.owner import describe_owner
from components.config import Config
from components.tracking import upload
from components.tracking.describe import declared_params, origin_tags, system_tags
from components.tracking.dvc_run import dvc_pipeline, note_end, note_stage
from components.tracking.journal import Journal, RunStart
from components.tracking.store import EXPERIMENT, tracking_folder, tracking_uri
from components.tracking.versions import declared_names, dvc_md5, stage_inputs

SMALL = 5_000_000  # bytes: larger outputs are stored by DVC only; MLflow gets their md5
SHOWN = {".json", ".html", ".yaml", ".md", ".csv", ".png", ".svg"}
SAMPLE_SECONDS = 10.0


class StageRun:
    """The running MLflow run of a stage; calling it logs metrics."""

    def __init__(self, journal: Journal, stage: str) -> None:
        self.journal = journal
        self._stage = stage
        self._published: set[str] = set()
        self.result: dict[str, Any] = {}  # of a finished stage: what the pipeline's run shows of it

    def __call__(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.journal.metrics(metrics, step)

    def publish(self, name: str, text: str) -> None:
        """Log `text` as the artifact `name`; an output of that name is not logged."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(name).name
            file.write_text(text, encoding="utf-8")
            self.journal.artifact(file, name)
        self._published.add(name)

    def finish(self, metrics: dict[str, float], out: Path) -> None:
        """Log the final metrics, the small outputs (up to 5 MB each) and the output folder's md5 as DVC computes it."""
        self(metrics)
        for file in sorted(out.rglob("*")):
            name = file.relative_to(out).as_posix()
            small = file.is_file() and file.suffix in SHOWN and file.stat().st_size < SMALL
            if small and name not in self._published:
                self.journal.artifact(file, name)
        self.result = {"metrics": metrics, "md5": dvc_md5(out)}
        self.journal.tags({"dvc.out.md5": self.result["md5"], "dvc.out.path": f"outputs/{self._stage}"})


@contextmanager
def stage_run(name: str, config: Config, root: Path) -> Iterator[StageRun]:
    """Open the stage's run; it ends FINISHED, FAILED when the stage raises, KILLED when its process dies."""
    parent = os.environ.get("FOUNDRY_PIPELINE_JOURNAL") or os.environ.get("MLFLOW_RUN_ID") or dvc_pipeline(root)
    start = RunStart(
        store=tracking_uri(root),
        experiment=EXPERIMENT,
        name=name,
        parent=parent,
        tags={"dvc.stage": name, **origin_tags(root, f"foundry stage {name}"), **system_tags()},
        params=declared_params(config, declared_names(root, name, "params")),
        inputs=stage_inputs(root, name),
    )
    journal = Journal.open(tracking_folder(root), start)
    note_stage(root, parent, name, "RUNNING", owner=describe_owner(root))
    upload.start_uploader(root)
    sampler, status, live = _Sampler(journal), "FAILED", StageRun(journal, name)
    try:
        yield live
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        sampler.stop()
        note_end(root, parent, name, status, live.result)  # before its own end, which sends its pipeline's notes too
        journal.end(status)
        if status != "KILLED":  # don't wait on Ctrl-C; the uploader runs in its own process
            upload.wait_until_uploaded(journal.folder)


class _Sampler:
    """Logs the stage's CPU and memory every ten seconds, and GPU memory if the stage has imported torch."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        process, step = psutil.Process(), 0
        process.cpu_percent()
        while not self._stopped.wait(SAMPLE_SECONDS):
            step += 1
            self._journal.metrics({**_usage(process), **_gpu_usage()}, step)


def _usage(process: psutil.Process) -> dict[str, float]:
    memory = process.memory_info().rss / 2**30
    return {"system/cpu_percent": process.cpu_percent(), "system/memory_gib": memory}


def _gpu_usage() -> dict[str, float]:
    import sys

    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return {}
    return {"system/gpu_memory_gib": torch.cuda.max_memory_allocated() / 2**30}
