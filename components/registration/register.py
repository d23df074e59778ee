"""Stage register: register the trained model as a version with the alias `candidate`.

The stage's output is small and deterministic: content hashes of the version's files, and a few texts with their
vectors, against which a promoted or served copy is checked. The version itself (number, tags, git commit) is created in
MLflow through the run's journal, so an unreachable MLflow only delays it.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.hashing import file_hash
from components.config import Config
from components.contracts.shots import TaskPrompt, read_prompts, read_shots
from components.contracts.tasks import read_tasks
from components.stage.context import StageContext
from components.tracking.journal import Journal, link_or_copy
from components.tracking.registry import CANDIDATE
from components.tracking.snapshot import snapshot
from components.tracking.summary import metrics_of
from components.tracking.versions import ancestry

PROMPTS = "config_sentence_transformers.json"
EVALUATION = ("scores.parquet", "examples.parquet")  # the gate compares these; stored with the version
EXAMPLES = ("What is the capital of France?", "Paris is the capital of France.", "Water boils at 100 degrees Celsius.")


def run(context: StageContext) -> dict[str, float]:
    """Write registration.json, reference.json and the model's prompts; returns the model's size and dimension.

    Raises:
        UserError: the train stage has no exported model.
    """
    export = context.outputs / "train" / "export"
    if not (export / "modules.json").exists():
        raise UserError(f"{export}: no sentence-transformers model; run the train stage first")
    _write_prompts(context.outputs, export, context.out, context.config)
    reference = reference_vectors(export, context.out / PROMPTS)
    _write(context.out / "reference.json", reference)
    parts = model_files(export, context.out)
    context.on_finish(submit_version)
    hashes = {name: file_hash(file) for name, file in parts.items()}
    name = context.config.register_.name
    _write(context.out / "registration.json", {"name": name, "alias": CANDIDATE, "files": hashes})
    return {
        "register.model_bytes": float(sum(file.stat().st_size for file in parts.values())),
        "register.dimension": float(len(reference["documents"][0])),
    }


def _write_prompts(outputs: Path, export: Path, out: Path, config: Config) -> None:
    """Write the export's settings with the prompts of the training tasks and of the evaluated tasks, shots included."""
    from transformers import AutoTokenizer

    from components.model.export import only_task, set_prompts
    from components.model.prompt import Prompt

    trained = list(read_tasks(outputs / "prepare" / "tasks.yaml").values())
    prompts = {task.name: TaskPrompt(task.instruction, task.symmetric) for task in trained}
    prompts |= {task: one.prompt for task, one in read_shots(outputs / "select_shots" / "shots.yaml").items()}
    prompts |= read_prompts(outputs / "evaluate" / "prompts.yaml")
    shutil.copyfile(export / PROMPTS, out / PROMPTS)
    set_prompts(out, Prompt(AutoTokenizer.from_pretrained(export), config.prompt), prompts, only_task(trained))


def reference_vectors(export: Path, prompts: Path) -> dict[str, Any]:
    """Vectors of the example texts as documents, and as queries of the first task; six decimals."""
    from sentence_transformers import SentenceTransformer

    from components.tracking.embedder import tasks_of

    model = SentenceTransformer(str(export), device="cpu")
    model.prompts = json.loads(prompts.read_text(encoding="utf-8"))["prompts"]
    task = tasks_of(model.prompts)[0]
    return {
        "texts": list(EXAMPLES),
        "task": task,
        "queries": _rounded(model.encode_query(list(EXAMPLES), prompt_name=task)),
        "documents": _rounded(model.encode_document(list(EXAMPLES))),
    }


def _rounded(vectors: Any) -> list[list[float]]:
    return [[round(float(value), 6) for value in vector] for vector in vectors]


def submit_version(journal: Journal, root: Path, out: Path) -> None:
    """Write the version request to the journal: links to its files, the snapshot commit, and all ancestor md5s."""
    written = json.loads((out / "registration.json").read_text(encoding="utf-8"))
    for name, file in model_files(root / "outputs" / "train" / "export", out).items():
        link_or_copy(file, journal.folder / "files" / "model" / name)
    for table in EVALUATION:
        journal.artifact(root / "outputs" / "evaluate" / table, f"evaluation/{table}")
    evaluated = metrics_of(root / "outputs" / "evaluate")
    journal.model(
        {
            "name": written["name"],
            "alias": written["alias"],
            "journal": journal.identity,
            "example": list(EXAMPLES),
            "tags": provenance_tags(root, journal.identity),
            "metrics": evaluated,
            "model_metrics": model_metrics(evaluated, metrics_of(root / "outputs" / "train")),
        }
    )


def model_metrics(evaluated: Mapping[str, float], trained: Mapping[str, float]) -> dict[str, float]:
    """Metrics of the model itself: its scores, its gain over base and its training; not base's or the teacher's."""
    own = {name: value for name, value in evaluated.items() if name.startswith(("trained.", "gain."))}
    return {**own, **trained}


def provenance_tags(root: Path, identity: str) -> dict[str, str]:
    """The tags of a version: the commit that holds its code, parameters and dvc.lock, and the md5s of its ancestors."""
    lock = root / "dvc.lock"
    tags = {f"md5:{path}": md5 for path, md5 in ancestry(root, "register").items()}
    if lock.exists():
        tags["dvc.lock.sha256"] = hashlib.sha256(lock.read_bytes()).hexdigest()
    commit = snapshot(root, identity, f"run {identity}: what made this model version")
    if commit:
        tags |= {"git.commit": commit, "git.run": identity}
    return tags


def model_files(export: Path, out: Path) -> dict[str, Path]:
    """The version's files, name -> file: the export with the prompts of `out`."""
    files = {f.relative_to(export).as_posix(): f for f in sorted(export.rglob("*")) if f.is_file()}
    return {**files, PROMPTS: out / PROMPTS}


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
