"""The whole path at Mistral-7B's shape on random weights: every stage to the evaluation, with a kill in the middle.

    python -m benchmarks.rehearsal [--quick | --few] [--quantization 4bit] [--folder DIR] [--json FILE]

Runs recipes/rehearsal-7b.yaml stage by stage, as DVC does. Training gets kill -9 at its first checkpoint and goes on
from there; then it runs once more without a kill, and the two adapters are compared. The export is loaded by
sentence-transformers and its vectors are compared with those of the trained model as it was trained (its adapter not
merged, its base in the training's precision and quantization). A stage's host_gib is the most that its process held
(Linux: ru_maxrss, mapped files included). One GPU of 80 GB, or 24 GB with --quantization 4bit.
`--few`: the full shape on a CPU with 20 GiB to spare and 60 GiB of disk; few texts, three steps of four queries.
`--quick`: few texts and a tiny shape, minutes of one CPU core; it proves the path, its seconds and GiB mean nothing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from components.config import Config, load_config, read_parameters
from components.training.checkpoint import list_checkpoints

ROOT = Path(__file__).resolve().parents[1]
BEFORE, AFTER = ("fetch", "prepare", "retrieve", "score", "mine"), ("select_shots", "evaluate")
# Multiples of 64, the block of 4-bit weights.
TINY = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}


def main() -> None:
    """Rehearse, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few texts and a tiny shape")
    parser.add_argument("--few", action="store_true", help="few texts on the CPU")
    parser.add_argument("--quantization", choices=["none", "4bit"], default="none")
    parser.add_argument("--folder", type=Path, help="where to run; a temporary folder when empty")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    raw = read_parameters(ROOT / "recipes" / "rehearsal-7b.yaml")
    raw["train"]["quantization"] = given.quantization
    if given.few or given.quick:
        few_texts(raw)
    if given.quick:
        tiny_shape(raw)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        folder = given.folder or Path(temporary)
        prepare_folder(folder, raw)
        figures = rehearse(folder)
    print("tiny shape: seconds and GiB mean nothing" if given.quick else "Mistral-7B's shape, random weights")
    for name, value in figures.items():
        print(f"  {name:32} {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def few_texts(raw: dict[str, Any]) -> None:
    """Cut the recipe to so many tokens that a CPU puts them through 7B parameters in minutes."""
    raw["fetch"]["sources"] = {name: raw["fetch"]["sources"][name] for name in ("boolq", "fiqa")}
    boolq, fiqa = (raw["prepare"]["tasks"][name] for name in ("boolq", "fiqa"))
    boolq |= {"train": 60, "dev": 10, "test": 20, "dev_documents": 20, "test_documents": 40, "max_words": 40}
    fiqa |= {"train": 40, "dev": 10, "test": 20, "max_words": 40}
    raw["prepare"]["tasks"] = {"boolq": boolq, "fiqa": fiqa}
    raw["encoder"] |= {"device": "cpu", "token_budget": 2048}
    raw["train"] |= {"steps": 3, "checkpoint_every": 1, "batch_queries": 4, "negatives": 1, "row_tokens": 1024}


def tiny_shape(raw: dict[str, Any]) -> None:
    """Cut the model to a shape that a CPU core trains in seconds; more steps, so that the kill comes in time."""
    raw["threads"] = 1
    raw["fetch"]["models"]["student"]["shape"] |= {**TINY, "num_key_value_heads": 2}
    raw["train"] |= {"steps": 9, "batch_queries": 8, "negatives": 2, "lora": {"rank": 4, "alpha": 8}}


def prepare_folder(folder: Path, raw: dict[str, Any]) -> None:
    """A checkout's worth of files in `folder`: code, pipeline, parameters; wheels are shared with this checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    (ROOT / ".cache" / "wheels").mkdir(parents=True, exist_ok=True)
    (folder / ".cache").mkdir(exist_ok=True)
    (folder / ".cache" / "wheels").symlink_to(ROOT / ".cache" / "wheels")
    for name in ("components", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")


def rehearse(folder: Path) -> dict[str, float]:
    """Every stage of the path in `folder`; returns the figures."""
    subprocess.run([sys.executable, "-m", "flows.cli", "stage", "local_files"], cwd=folder, check=True)
    costs = {stage: run_stage(folder, stage) for stage in BEFORE}
    killed_at = train_until_killed(folder)
    costs["train after the kill"] = run_stage(folder, "train")
    went_on_at, peak = training_log(folder)
    (folder / "outputs" / "train" / "adapter").replace(folder / "resumed")
    shutil.rmtree(folder / "outputs" / "train")
    costs["train"] = run_stage(folder, "train")
    costs |= {stage: run_stage(folder, stage) for stage in AFTER}
    scores = json.loads((folder / "outputs" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    return {
        "killed_at_step": killed_at,
        "went_on_at_step": went_on_at,
        "adapter_difference": adapter_difference(folder / "resumed", folder / "outputs" / "train" / "adapter"),
        **export_differences(folder),
        "scores": len(scores),
        "peak_gib": peak,
        **{f"{stage.replace(' ', '_')}_seconds": seconds for stage, (seconds, _) in costs.items()},
        **{f"{stage.replace(' ', '_')}_host_gib": host for stage, (_, host) in costs.items()},
    }


def run_stage(folder: Path, stage: str) -> tuple[float, float]:
    """Run one stage to its end; returns its seconds and the most GiB of host memory that its process held.

    Exits with the stage's status when it fails.
    """
    begin = time.perf_counter()
    process = start(folder, stage)
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - begin, used.ru_maxrss / 2**20


def start(folder: Path, stage: str, parent: str = "") -> "subprocess.Popen[bytes]":
    """Start a stage's process. parent: of its MLflow run, `journal:ID`."""
    env = {**os.environ, "PYTHONPATH": str(folder), "MLFLOW_TRACKING_URI": tracking_store(folder)}
    env |= {"FOUNDRY_PIPELINE_JOURNAL": parent} if parent else {}
    return subprocess.Popen([sys.executable, "-m", "flows.cli", "stage", stage], cwd=folder, env=env)


def tracking_store(folder: Path) -> str:
    """The MLflow store of the runs in `folder`."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def train_until_killed(folder: Path) -> int:
    """Start training, kill -9 it as soon as a checkpoint is whole; returns the step of the newest checkpoint."""
    process = start(folder, "train")
    while process.poll() is None and not whole_checkpoints(folder):
        time.sleep(0.02)
    if process.poll() is not None:
        sys.exit(process.returncode or "train: ended before it could be killed; raise train.steps")
    process.kill()
    process.wait()
    return int(whole_checkpoints(folder)[-1].name.removeprefix("step-"))


def whole_checkpoints(folder: Path) -> list[Path]:
    return [path for work in folder.glob(".cache/work/train-*") for path in list_checkpoints(work / "checkpoints")]


def training_log(folder: Path) -> tuple[int, float]:
    """(first step, peak GiB) that the newest training run wrote to MLflow."""
    from components.tracking.store import connect

    client = connect(tracking_store(folder))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
    newest = next(run.info.run_id for run in runs if client.get_metric_history(run.info.run_id, "train/loss"))
    steps = [metric.step for metric in client.get_metric_history(newest, "train/loss")]
    return min(steps), max(metric.value for metric in client.get_metric_history(newest, "memory/peak_gib"))


def adapter_difference(one: Path, other: Path) -> float:
    """Largest difference of two adapters' weights."""
    from safetensors.numpy import load_file

    first, second = (load_file(place / "adapter_model.safetensors") for place in (one, other))
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def export_differences(folder: Path) -> dict[str, float]:
    """The export in sentence-transformers against the trained model: largest difference, least cosine."""
    from sentence_transformers import SentenceTransformer

    from components.base.machine import free_memory
    from components.contracts.tasks import read_tasks
    from components.model.device import device_of

    config = load_config(folder / "params.yaml")
    outputs = folder / "outputs"
    task = next(iter(read_tasks(outputs / "prepare" / "tasks.yaml").values()))
    texts = [f"{word} {number} of the things that people ask" for number, word in enumerate(["what", "why", "is"] * 10)]
    trained = trained_vectors(config, outputs, texts, task.instruction)
    free_memory()
    export = SentenceTransformer(str(outputs / "train" / "export"), device=device_of(config.encoder.device).type)
    found = np.asarray(export.encode_query(texts, prompt_name=task.name), dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return {
        "export_difference": float(np.abs(found - trained).max()),
        "export_least_cosine": float((found * trained).sum(1).min()),
    }


def trained_vectors(config: Config, outputs: Path, texts: list[str], instruction: str) -> np.ndarray:
    """Queries' vectors of the model as it was trained: the base in training's precision, the adapter beside it."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from components.model.backbone import load_tokenizer
    from components.model.encoder import Encoder
    from components.model.prompt import Prompt
    from components.training.train import add_adapter

    student = outputs / "fetch" / "models" / "student"
    tokenizer = load_tokenizer(student, config.prompt)
    model = add_adapter(student, tokenizer, config).eval()
    set_peft_model_state_dict(model, load_file(outputs / "train" / "adapter" / "adapter_model.safetensors"))
    encoder = Encoder(model, Prompt(tokenizer, config.prompt), config.encoder, identity="")
    return encoder.encode_queries(texts, instruction)


if __name__ == "__main__":
    main()
