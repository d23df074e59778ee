"""A small training set on disk and a trainer over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.config import Config, parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.examples import TrainingData, load_training_data
from components.training.train import add_adapter
from components.training.trainer import Trainer
from components.training.world import World
from tests.samples import small_parameters, write_training_tables


@pytest.fixture(scope="session")
def training_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def data(training_tables: Path) -> TrainingData:
    return load_training_data(training_tables, training_tables / "cache")


@pytest.fixture
def make_trainer(tiny_student: Path, data: TrainingData, tmp_path: Path) -> Callable[..., Trainer]:
    """Trainer(**changes by dotted key); `work`, `log` and `world` may be given too."""

    def make(work: Path = tmp_path, log: Any = None, world: World | None = None, **changes: Any) -> Trainer:
        config: Config = parse_config(small_parameters(**changes), "test")
        tokenizer = load_tokenizer(tiny_student, config.prompt)
        model = add_adapter(tiny_student, tokenizer, config)
        prompt = Prompt(tokenizer, config.prompt)
        return Trainer(model, prompt, data, config, work, log or (lambda metrics, step: None), world or World())

    return make
