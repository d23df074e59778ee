"""Train a few steps, alone or under torchrun, and keep losses and weights: TABLES STUDENT RESULT."""

import sys
from pathlib import Path

import torch

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.examples import load_training_data
from components.training.train import adapted
from components.training.trainer import Trainer
from components.training.world import join_world
from tests.samples import small_parameters

tables, student, result = map(Path, sys.argv[1:])
torch.set_num_threads(1)
shots = {"max": 2, "share": 2}
config = parse_config(small_parameters(**{"train.steps": 3, "train.shots": shots, "train.row_tokens": 96}), "test")
tokenizer = load_tokenizer(student, config.prompt)
world = join_world()
work = result.with_suffix(".work")
trainer = Trainer(
    adapted(student, tokenizer, config),
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
    torch.save({"processes": world.size, "losses": losses, "weights": weights}, result)
if world.size > 1:
    torch.distributed.destroy_process_group()
