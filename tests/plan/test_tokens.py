"""Counted tokens against those of a run's batches."""

import pytest

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.plan.tokens import counted_texts, training_tokens
from components.training.batches import Batches
from components.training.examples import load_training_data
from components.training.rows import pack_rows
from components.training.token_ids import TrainingTokens
from components.training.world import World
from tests.samples import small_parameters, write_training_tables


@pytest.mark.parametrize("lengths", [{}, {"train.query_tokens": 6, "train.document_tokens": 12}])
def test_counted_tokens_are_those_of_the_run(tiny_student, tmp_path, lengths):
    write_training_tables(tmp_path, pairs=60)
    shots = {"max": 2, "share": 4}
    config = parse_config(small_parameters(**{"train.steps": 60, "train.shots": shots, **lengths}), "test")
    tokenizer = load_tokenizer(tiny_student, config.prompt)
    trained = Prompt(tokenizer, config.training_prompt)
    data = load_training_data(tmp_path, tmp_path / "cache")
    batches = Batches(data, config.train, config.seed)
    tokens = TrainingTokens(data, trained, tmp_path / "cache", World())
    how = config.train.row_tokens, config.encoder, World()
    real = sum(placed.tokens for i in range(60) for placed in pack_rows(tokens.of(batches[i]), *how))
    counted = counted_texts(tmp_path, Prompt(tokenizer, config.prompt), config.training_prompt)
    assert training_tokens(config, counted) == pytest.approx(real, rel=0.1)
