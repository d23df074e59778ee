"""Train a few steps, alone or under torchrun, and keep losses and weights: TABLES STUDENT RESULT [KEY=VALUE ...]."""

import sys
from pathlib import Path

import torch
import yaml

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.examples import load_training_data
from components.training.train import adapted, save_adapter
from components.training.trainer import Trainer
from components.training.world import join_world, shard
from tests.samples import small_parameters

tables, student, result = map(Path, sys.argv[1:4])
changes = {key: yaml.safe_load(value) for key, value in (word.split("=") for word in sys.argv[4:])}
torch.set_num_threads(1)
shots = {"max": 2, "share": 2}
small = {"train.steps": 3, "train.shots": shots, "train.row_tokens": 96, **changes}
config = parse_config(small_parameters(**small), "test")
tokenizer = load_tokenizer(student, config.prompt)
world = join_world(config.train.distributed)
model = adapted(student, tokenizer, config)
whole = sum(p.numel() for p in model.parameters())
shard(model, world)
held = sum(getattr(p, "to_local", lambda p=p: p)().numel() for p in model.parameters())
work = result.with_suffix(".work")
trainer = Trainer(
    model,
    Prompt(tokenizer, config.prompt),
    load_training_data(tables),
    config,
    work,
    lambda metrics, step: None,
    world,
)
curve = trainer.fit()
if world.first:
    losses = torch.tensor([row["loss"] for row in curve])
    weights = {name: parameter.detach() for name, parameter in trainer.named.items()}
    save_adapter(model, result.with_suffix(".adapter"))
    told = {"processes": world.size, "losses": losses, "weights": weights, "held": held / whole}
    torch.save({**told, "dev": [row["dev_ndcg_at_10"] for row in curve]}, result)
if world.size > 1:
    torch.distributed.destroy_process_group()
