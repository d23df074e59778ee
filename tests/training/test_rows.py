"""A batch's rows are the same for any number of processes; each tokenises its share and packs what it encodes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.training.rows import Tokens, pack_rows, rows_of, tokenise
from components.training.world import World

CHANGES = {"train.row_tokens": 96, "train.shots": {"max": 2, "share": 2}, "prompt.query_tokens": 12}


class SentError(Exception):
    """What a process has sent to the others."""


class Alone(World):
    """One of two processes whose other never answers."""

    def exchange(self, own: list[list[int]]) -> list[list[list[int]]]:
        raise SentError(own)


@pytest.fixture
def trainer(make_trainer: Callable[..., Any]) -> Any:
    return make_trainer(**CHANGES)


@pytest.mark.parametrize("step", [1, 2])
def test_each_process_tokenises_its_share(trainer: Any, step: int) -> None:
    batch, prompt = trainer.batches[step], trainer.training_prompt
    whole = tokenise(batch, prompt, World())
    assert whole.cut > 0
    shares = []
    for rank in (0, 1):
        with pytest.raises(SentError) as sent:
            tokenise(batch, prompt, Alone(rank, 2))
        shares.append(sent.value.args[0])
    everything = [*whole.queries, *whole.documents]
    assert [share[:-1] for share in shares] == [everything[0::2], everything[1::2]]
    assert sum(share[-1][0] for share in shares) == whole.cut


def test_each_process_packs_what_it_encodes(trainer: Any) -> None:
    batch, given = trainer.batches[1], (trainer.training_prompt, trainer.params, trainer.config.encoder)
    tokens: Tokens = tokenise(batch, given[0], World())
    alone = rows_of(batch, *given)
    assert len(alone) > 3
    packed = [pack_rows(batch, tokens, *given, World(rank, 2)) for rank in (0, 1)]
    for i, row in enumerate(alone):
        there = [rows[i] for rows in packed if rows[i].row is not None]
        assert len(there) == 1
        assert there[0].row is not None
        assert row.row is not None
        assert there[0].row.ids.equal(row.row.ids)
        for rows in packed:
            assert (rows[i].places, rows[i].tokens, rows[i].prefix_length) == (
                row.places,
                row.tokens,
                row.prefix_length,
            )


def test_a_paraphrase_stands_before_both_sides_of_a_symmetric_task(trainer: Any) -> None:
    step = next(step for step in range(6) if trainer.batches[step].task.symmetric)
    batch, prompt = trainer.batches[step], trainer.training_prompt
    own = replace(batch, instruction="In other words.", shots=[[] for _ in batch.shots])
    rows = rows_of(own, prompt, trainer.params, trainer.config.encoder)
    prefix = prompt.prefix_ids("In other words.")
    assert all(row.row is not None and row.row.ids.flatten()[: len(prefix)].tolist() == prefix for row in rows)
    assert {row.prefix_length for row in rows} == {len(prefix)}
