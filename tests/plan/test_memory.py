"""Memory of a training step against the true weights, and what fits on common cards."""

import pytest

from components.config import load_config
from components.plan.memory import RowSize, training_memory
from tests.plan.samples import MISTRAL, full
from tests.samples import ROOT


def test_one_h100_holds_long_texts_and_24_gib_hold_the_4_bit_base():
    """512-token texts behind a 1,536-token prefix, 128 queries with 8 passages each."""
    row = RowSize(1536 + 5 * 512, 1536, 5)
    long = full(batch_queries=128, negatives=7, row_tokens=row.tokens)
    rows = [row] * 26 + [RowSize(4096)] * 128
    assert training_memory(MISTRAL, long, rows, "bf16", gpu=True).peak < 80e9
    small = load_config(ROOT / "recipes" / "mistral-7b-qlora-24gb.yaml")
    rows = [RowSize(small.train.row_tokens, 1536, 2)] * 64
    assert training_memory(MISTRAL, small, rows, "bf16", gpu=True).peak < 24e9


def test_the_base_takes_two_bytes_a_weight_and_the_adapter_sixteen():
    memory = training_memory(MISTRAL, full(), [RowSize(4096)], "bf16", gpu=True)
    assert memory.base == pytest.approx(2 * 7_110_672_384, rel=1e-3)
    assert memory.adapter == 16 * MISTRAL.lora(64)
