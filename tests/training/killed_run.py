"""Train until a given step has begun, then kill -9 ourselves: started by a test in a process of its own."""

import os
import signal
from pathlib import Path

import torch

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.examples import load_training_data
from components.training.train import add_adapter
from components.training.trainer import Trainer
from components.training.world import World
from tests.samples import small_parameters


def train_until_killed(tables: Path, student: Path, work: Path, killed_at: int) -> None:
    """Does not return."""
    torch.set_num_threads(1)
    lora = {"rank": 4, "alpha": 8, "dropout": 0.2}
    config = parse_config(small_parameters(**{"train.shots": {"max": 2, "share": 2}, "train.lora": lora}), "test")
    tokenizer = load_tokenizer(student, config.prompt)

    def kill(metrics: dict[str, float], step: int | None) -> None:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    model = add_adapter(student, tokenizer, config)
    data = load_training_data(tables, tables / "cache")
    Trainer(model, Prompt(tokenizer, config.prompt), data, config, work, kill, World()).fit()
