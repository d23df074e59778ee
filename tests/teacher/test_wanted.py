"""Only the dev queries and what training draws are wanted; the batches of training say which those are."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.config import parse_config
from components.data.inputs import read_inputs
from components.teacher.wanted import wanted_queries
from components.training.batches import Batches
from components.training.examples import load_training_data
from tests.samples import small_parameters, write_training_tables


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_tables(tmp_path_factory.mktemp("outputs"))


@pytest.mark.parametrize("steps", [1, 3, 60])
def test_drawn_queries_are_those_of_the_batches(outputs: Path, steps: int) -> None:
    config = parse_config(small_parameters(**{"train.steps": steps, "score.queries": "drawn"}), "test")
    inputs = read_inputs(outputs / "prepare", texts=False)
    wanted = wanted_queries(inputs, config, outputs / "prepare")
    batches = Batches(load_training_data(outputs, outputs / "cache"), config.train, config.seed)
    drawn = {int(query) for step in range(steps) for query in batches[step].queries}
    dev = inputs.queries.filter(pl.col("split") == "dev")["row"].to_list()
    assert set(np.flatnonzero(wanted).tolist()) == drawn | set(dev)
    assert (len(drawn) < 44) == (steps < 60)


def test_all_queries_are_wanted_when_asked_for(outputs: Path) -> None:
    config = parse_config(small_parameters(**{"train.steps": 1, "score.queries": "all"}), "test")
    assert wanted_queries(read_inputs(outputs / "prepare", texts=False), config, outputs / "prepare").all()
