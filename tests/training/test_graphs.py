"""A training process compiles few graphs of FlexAttention for any rows: past a limit torch runs it eagerly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch.nn.attention import flex_attention as torch_module

from components.model import attention
from components.model.fused import compile_function

CHANGES: dict[str, Any] = {
    "train.steps": 3,
    "train.gradcache": True,
    "train.gradient_checkpointing": True,
    "train.precision": "bf16",
    "train.row_tokens": 300,
    "train.shots": {"max": 2, "share": 2},
    "train.dev": {"every": 1, "queries": 4, "documents": 8},
}


@pytest.mark.slow
def test_a_training_process_compiles_at_most_four_graphs(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both passes of GradCache and dev checks, rows with and without a prefix, from one block to several."""
    blocks: set[int] = set()

    def on_a_card(row: Any, query: Any, key: Any, value: Any, scaling: float) -> torch.Tensor:
        blocks.add(-(-row.tokens // 128))
        return attention.flex_attention_over(row, query, key, value, scaling, flex)

    monkeypatch.setattr(torch_module, "_validate_device", lambda *tensors: None)  # it refuses a backward on a CPU
    monkeypatch.setattr(attention, "blocked_attention", on_a_card)
    monkeypatch.setattr(attention, "attention_at", lambda at, *given: on_a_card(*given))
    flex = compile_function(torch_module.flex_attention, "aot_eager")
    make_trainer(**CHANGES).fit()
    assert {1, 2, 3} <= blocks
    graphs = len(_debug_get_cache_entry_list(torch_module.flex_attention.__code__))
    torch._dynamo.reset()
    assert 2 <= graphs <= 4
