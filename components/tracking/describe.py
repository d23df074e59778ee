"""MLflow tags and parameters of a run: parameters, machine, user, source and code."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from components.base.machine import user_name
from components.config import Config
from components.config.flatten import flatten
from components.tracking.versions import code_version

LIBRARIES = ("torch", "transformers", "peft", "sentence-transformers", "mteb", "mlflow", "dvc", "prefect")


def origin_tags(root: Path, source: str) -> dict[str, str]:
    """Tags for MLflow's columns User, Source and Version, and git.commit and git.dirty.

    source: the command, for example `foundry stage train`.
    """
    code = code_version(root)
    tags = {"mlflow.user": user_name(), "mlflow.source.name": source, "mlflow.source.type": "LOCAL", **code}
    return tags | ({"mlflow.source.git.commit": code["git.commit"]} if code else {})


def declared_params(config: Config, keys: list[str]) -> dict[str, str]:
    """The sections and keys of the parameters that a stage declares in dvc.yaml: `train.lora.rank` -> `16`."""
    values = flatten(config.model_dump(mode="json", by_alias=True))
    return {k: v for k, v in values.items() if any(k == s or k.startswith(f"{s}.") for s in keys)}


def system_tags() -> dict[str, str]:
    """Tags that describe the machine and the library versions."""
    memory = psutil.virtual_memory().total / 2**30
    libraries = " ".join(f"{name}={version(name)}" for name in LIBRARIES)
    return {
        "system.host": platform.node(),
        "system.platform": f"{platform.system()} {platform.machine()} Python {platform.python_version()}",
        "system.cpus": str(os.cpu_count()),
        "system.memory_gib": f"{memory:.0f}",
        "system.gpus": " ".join(gpu_names()) or "none",
        "system.libraries": libraries,
    }


def gpu_names() -> list[str]:
    """NVIDIA GPUs as the kernel driver lists them; torch is not used, as every stage would have to import it."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [card.read_text().splitlines()[0].partition(":")[2].strip().replace(" ", "-") for card in cards]
