"""A few steps alone and by two processes, in several ways: losses, weights and dev scores to compare."""

from pathlib import Path
from typing import Any

import torch
from torch import distributed

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.examples import load_training_data
from components.training.train import add_adapter, save_adapter
from components.training.trainer import Trainer
from components.training.world import join_world, shard
from tests.samples import small_parameters
from tests.warm import meet_as_under_torchrun

GRADCACHE = {"train.gradcache": True, "train.gradient_checkpointing": True}
WAYS: dict[str, dict[str, Any]] = {
    "ddp": {"train.distributed": "ddp"},
    "fsdp2": {"train.distributed": "fsdp2"},
    "fsdp2-gradcache": {"train.distributed": "fsdp2", **GRADCACHE},
}


def train_every_way(tables: Path, student: Path, folder: Path, rank: int, store_port: int) -> None:
    """One of two processes: `folder/WAY.pt` for each way."""
    meet_as_under_torchrun(rank, store_port)
    for way, changes in WAYS.items():
        train(tables, student, folder / f"{way}.pt", changes)
    distributed.destroy_process_group()


def train(tables: Path, student: Path, result: Path, changes: dict[str, Any]) -> None:
    """Three steps; the first process writes `result` and an adapter beside it."""
    torch.set_num_threads(1)
    small = {"train.steps": 3, "train.shots": {"max": 2, "share": 2}, "train.row_tokens": 96}
    dev = {"train.dev": {"every": 2, "queries": 4, "documents": 8}}
    config = parse_config(small_parameters(**small, **dev, **changes), "test")
    tokenizer = load_tokenizer(student, config.prompt)
    world = join_world(config.train.distributed)
    model = add_adapter(student, tokenizer, config)
    whole = sum(p.numel() for p in model.parameters())
    shard(model, world)
    held = sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in model.parameters())
    data, prompt = load_training_data(tables, tables / "cache"), Prompt(tokenizer, config.prompt)
    trainer = Trainer(model, prompt, data, config, result.with_suffix(".work"), lambda metrics, step: None, world)
    curve = trainer.fit()
    if world.first:
        losses = torch.tensor([row["loss"] for row in curve])
        weights = {name: parameter.detach() for name, parameter in trainer.named.items()}
        save_adapter(model, result.with_suffix(".adapter"))
        told = {"processes": world.size, "losses": losses, "weights": weights, "held": held / whole}
        torch.save({**told, "dev": [row["dev_ndcg_at_10"] for row in curve]}, result)
