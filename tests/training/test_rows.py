"""A batch's rows are the same for any number of processes; ids are made once, and each packs what it encodes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from components.config import Config
from components.model.prompt import Prompt
from components.training.rows import pack_rows
from components.training.token_ids import TrainingTokens
from components.training.world import World

CHANGES = {"train.row_tokens": 96, "train.shots": {"max": 2, "share": 2}, "prompt.query_tokens": 12}


@pytest.fixture
def trainer(make_trainer: Callable[..., Any]) -> Any:
    return make_trainer(**CHANGES)


def test_ids_of_a_batch_are_those_of_its_texts(trainer: Any) -> None:
    """Retrieval, and a symmetric task whose documents are queries."""
    prompt = Prompt(trainer.prompt.tokenizer, trainer.config.training_prompt)
    kinds = set()
    for step in range(6):
        batch, before = trainer.batches[step], prompt.cut
        tokens = trainer.tokens.of(batch)
        assert [ids.tolist() for ids in tokens.queries] == prompt.query_ids(batch.query_texts)
        way = prompt.query_ids if batch.task.symmetric else prompt.document_ids
        assert [ids.tolist() for ids in tokens.documents] == way(batch.document_texts)
        assert tokens.cut == prompt.cut - before
        assert bool(tokens.document_prefix) == batch.task.symmetric
        kinds.add(batch.task.symmetric)
    assert kinds == {False, True}
    assert prompt.cut > 0


def test_ids_are_made_once_and_again_for_other_lengths(trainer: Any, make_trainer: Callable[..., Any]) -> None:
    folder = trainer.work.parent / "cache" / "token_ids"
    made = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(made) == 3
    make_trainer(**CHANGES)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == made
    make_trainer(**{**CHANGES, "prompt.query_tokens": 11})
    assert len(list(folder.iterdir())) == 6


def test_many_texts_take_many_parts(trainer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("components.training.token_ids._PART", 5)
    config: Config = trainer.config
    prompt = Prompt(trainer.prompt.tokenizer, config.training_prompt)
    parts = TrainingTokens(trainer.batches.data, prompt, tmp_path / "parts", World())
    for step in (1, 2):
        one, other = (tokens.of(trainer.batches[step]) for tokens in (parts, trainer.tokens))
        assert all(map(np.array_equal, one.documents, other.documents))
        assert one.cut == other.cut


def test_each_process_packs_what_it_encodes(trainer: Any) -> None:
    tokens = trainer.tokens.of(trainer.batches[1])
    how = trainer.params.row_tokens, trainer.config.encoder
    alone = pack_rows(tokens, *how, World())
    assert len(alone) > 3
    packed = [pack_rows(tokens, *how, World(rank, 2)) for rank in (0, 1)]
    for i, row in enumerate(alone):
        there = [rows[i] for rows in packed if rows[i].row is not None]
        assert len(there) == 1
        assert there[0].row is not None
        assert row.row is not None
        assert there[0].row.ids.equal(row.row.ids)
        for rows in packed:
            assert (rows[i].places, rows[i].tokens, rows[i].repeated) == (row.places, row.tokens, row.repeated)


def test_a_paraphrase_stands_before_both_sides_of_a_symmetric_task(trainer: Any) -> None:
    step = next(step for step in range(6) if trainer.batches[step].task.symmetric)
    batch = trainer.batches[step]
    own = replace(batch, instruction="In other words.", shots=[[] for _ in batch.shots])
    tokens = trainer.tokens.of(own)
    rows = pack_rows(tokens, trainer.params.row_tokens, trainer.config.encoder, World())
    prefix = trainer.prompt.prefix_ids("In other words.")
    assert all(row.row is not None and row.row.ids.flatten()[: len(prefix)].tolist() == prefix for row in rows)
    assert {row.row.prefix_length for row in rows if row.row is not None} == {len(prefix)}


def test_queries_with_an_instruction_of_their_own_stand_behind_it_in_runs(trainer: Any) -> None:
    data = trainer.batches.data
    own = np.where(np.arange(len(data.query_label)) % 3 == 0, 0, -1).astype(np.int32)
    trainer.batches.data = replace(data, query_instruction=own, instructions=["Prove it."])
    step = next(step for step in range(6) if not trainer.batches[step].task.symmetric)
    batch = trainer.batches[step]
    wanted = ["Prove it." if query % 3 == 0 else None for query in batch.queries]
    assert wanted == sorted(wanted, key=lambda one: one is not None)  # the task's first
    ends = [*batch.starts[1:], len(wanted)]
    for start, end, one in zip(batch.starts, ends, batch.own_instructions, strict=True):
        assert set(wanted[start:end]) == {one}
        assert end - start <= 2
    assert {"Prove it.", None} <= set(batch.own_instructions)
    tokens = trainer.tokens.of(replace(batch, shots=[[] for _ in batch.shots]))
    instructions = [one or batch.instruction for one in batch.own_instructions]
    assert tokens.prefixes == [trainer.prompt.prefix_ids(one) for one in instructions]
    rows = pack_rows(tokens, trainer.params.row_tokens, trainer.config.encoder, World())
    behind = {place: row for row in rows for place in row.places if place < len(wanted)}
    for place, row in behind.items():
        prefix = trainer.prompt.prefix_ids(wanted[place] or batch.instruction)
        assert row.row is not None
        assert row.row.ids.flatten()[: len(prefix)].tolist() == prefix
