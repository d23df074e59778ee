"""Packed rows give the vectors and gradients of a padded batch; nothing is dropped when rows are planned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import EncoderParams
from components.model.backbone import load_backbone, pooled
from components.model.packing import join_rows, pack, plan_joins, plan_rows
from tests.model.rows import PREFIX, SEQUENCES, joined


def backbone(student: Path, trainable: bool = False):
    tokenizer = range(300)
    model = load_backbone(student, tokenizer, EncoderParams(device="cpu"))
    return model.requires_grad_(trainable)


def padded_reference(model, prefix, sequences, pooling="last", causal=True):
    """What a padded trainer does: every sequence with its own prefix, right padding, a dense mask, one forward."""
    whole = [prefix + sequence for sequence in sequences]
    width = max(map(len, whole))
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in whole])
    real = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in whole]).bool()
    mask = real[:, None, None, :].expand(-1, 1, width, -1)
    if causal:
        mask = mask & torch.ones(width, width).tril().bool()
    model.config._attn_implementation = "sdpa"
    hidden = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    model.config._attn_implementation = "packed"
    if pooling == "last":
        vectors = torch.stack([hidden[i, len(ids) - 1] for i, ids in enumerate(whole)])
    else:
        vectors = (hidden * real[:, :, None]).sum(1) / real.sum(1)[:, None]
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("prefix", [PREFIX, []])
def test_vectors_equal_the_padded_batch(tiny_student, prefix):
    model = backbone(tiny_student)
    packed = pooled(model, pack(prefix, SEQUENCES), "last")
    assert torch.allclose(packed, padded_reference(model, prefix, SEQUENCES), atol=1e-6)


def test_gradients_equal_the_padded_batch(tiny_student):
    weights = torch.randn(len(SEQUENCES), 32)
    gradients = []
    for forward in (
        lambda m: pooled(m, pack(PREFIX, SEQUENCES), "last"),
        lambda m: padded_reference(m, PREFIX, SEQUENCES),
    ):
        model = backbone(tiny_student, trainable=True)
        (forward(model) * weights).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-5


def test_bidirectional_mean_pooling_equals_the_padded_batch(tiny_student):
    model = backbone(tiny_student)
    row = pack([], [PREFIX + sequence for sequence in SEQUENCES], causal=False)
    expected = padded_reference(model, PREFIX, SEQUENCES, "mean", causal=False)
    assert torch.allclose(pooled(model, row, "mean"), expected, atol=1e-6)


def test_a_joined_row_is_its_rows_side_by_side():
    """Its mask, positions, starts and last tokens are those of the rows, and no group sees another."""
    row, parts = joined(), joined().parts
    assert [part.groups for part in parts] == [(group,) for group in row.groups]
    expected = torch.block_diag(*(part.dense_mask()[0, 0] for part in parts)).bool()
    assert row.dense_mask()[0, 0].equal(expected)
    assert row.positions.equal(torch.cat([part.positions for part in parts], dim=1))
    sizes = [0, parts[0].tokens, parts[0].tokens + parts[1].tokens]
    assert row.last.equal(torch.cat([part.last + size for part, size in zip(parts, sizes, strict=True)]))
    assert row.blocked_cells == sum(part.blocked_cells for part in parts)
    with pytest.raises(ValueError, match="causal"):
        join_rows([pack([], SEQUENCES, causal=False)])


def test_vectors_of_a_joined_row_are_those_of_its_rows(tiny_student):
    model = backbone(tiny_student)
    row = joined()
    expected = torch.cat([pooled(model, part, "last") for part in row.parts])
    assert torch.allclose(pooled(model, row.to(torch.device("cpu")), "last"), expected, atol=1e-6)


def test_a_shared_prefix_needs_causal_attention():
    with pytest.raises(ValueError, match="causal"):
        pack(PREFIX, SEQUENCES, causal=False)


def test_positions_restart_behind_the_prefix():
    row = pack([1, 5], [[6, 7, 2], [8, 2]])
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 2, 3]]
    assert row.last.tolist() == [4, 6]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 20), st.integers(21, 64))
@settings(deadline=None)
def test_plan_rows_keeps_every_sequence_within_the_budget(lengths, prefix_length, budget):
    rows = plan_rows(lengths, prefix_length, budget)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or prefix_length + sum(lengths[i] for i in row) <= budget


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(10, 64))
@settings(deadline=None)
def test_plan_joins_keeps_every_row_within_the_budget(tokens, budget):
    joins = plan_joins(tokens, budget)
    assert sorted(i for members in joins for i in members) == list(range(len(tokens)))
    sizes = [sum(tokens[i] for i in members) for members in joins]
    assert all(size <= budget or len(members) == 1 for size, members in zip(sizes, joins, strict=True))
    assert sum(size <= budget // 2 for size in sizes) <= 1  # two such rows would be one


def test_a_row_on_another_device_brings_what_is_read_there() -> None:
    """`last` too: to make it on a card would wait for the card."""
    row = pack([1, 2], [[3, 4], np.array([5], dtype=np.int32)]).to(torch.device("meta"))
    assert (row.ids.device.type, row.segments.device.type, row.last.device.type) == ("meta", "meta", "meta")
    assert row.last.shape == (2,)
