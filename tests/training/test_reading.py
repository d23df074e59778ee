"""A step waits for its device once: for the loss. Its other numbers are read later, and are the same."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from components.model import attention
from components.model.packing import Row
from components.training.losses import ordered_pairs

aten = torch.ops.aten
WAITS = {  # what copies from a card to the host, or needs a number from it to go on
    aten._local_scalar_dense,
    aten.nonzero,
    aten.nonzero_numpy,
    aten.is_nonzero,
    aten.equal,
    aten.masked_select,
    aten.unique_dim,
    aten._unique2,
    aten.bincount,
    aten._linalg_check_errors,
    aten._linalg_eigh,
    aten.repeat_interleave,
}


class Waits(TorchDispatchMode):
    """Notes the function of the project that makes the host wait, were the tensors on a card."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = function.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            place is not None and place.dtype in (torch.bool, torch.uint8) for place in args[1]
        )
        if by_mask or function.overloadpacket in WAITS:
            self.places.append(_place())
        return function(*args, **(kwargs or {}))


def _place() -> str:
    """FILE:FUNCTION of the innermost frame of components/, or of the optimizer, whose counter is on the host."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if "/components/" in file or "/torch/optim/" in file:
            return f"{file.rpartition('/')[2]}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


CHANGES: dict[str, Any] = {
    "train.steps": 4,
    "train.gradcache": True,
    "train.checkpoint_every": 3,
    "train.shots": {"max": 2, "share": 2},
    "train.query_negatives": True,
    "train.document_negatives": True,
    "train.distillation": {"weight": 1.0, "margin_mse_weight": 1.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"train.multi_positive": True, "train.matryoshka": [8]}])
def test_a_step_waits_for_the_device_once(
    make_trainer: Callable[..., Any], change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a card's mask, and the dense attention in place of a card's kernel; the second batch is a graded one."""

    def on_a_card(row: Any, query: Any, key: Any, value: Any, scaling: float) -> torch.Tensor:
        attention.flex_mask(row)
        seen = row.dense_mask()
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, attn_mask=seen, scale=scaling, enable_gqa=True).transpose(1, 2)

    monkeypatch.setattr(attention, "blocked_attention", on_a_card)
    monkeypatch.setattr(Row, "blocked_cells", 0)  # it chooses between a CPU's two ways
    trainer = make_trainer(**CHANGES, **change)
    trainer.lags = True
    for step in range(2):
        prepared = trainer._prepare(step)
        if step == 1:
            ordered = ordered_pairs(torch.arange(len(prepared.batch.queries)))
            prepared = prepared._replace(batch=replace(prepared.batch, graded=True, ordered=ordered))
        trainer._unread = None  # its numbers would be on the host by now
        with Waits() as waits:
            trainer._run_step(step, lambda prepared=prepared: prepared)
        of_device = [place for place in waits.places if not place.startswith(("adamw.py", "adam.py", "optimizer.py"))]
        assert of_device == ["step.py:run"]


@pytest.mark.slow
def test_numbers_read_a_step_later_are_the_same(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    told: dict[bool, list[tuple[int, dict[str, float]]]] = {False: [], True: []}
    curves = {}
    for lags, seen in told.items():

        def log(metrics: dict[str, float], step: int, seen: Any = seen) -> None:
            seen.append((step, metrics))

        trainer = make_trainer(log=log, work=tmp_path / str(lags), **CHANGES)
        trainer.lags = lags
        curves[lags] = trainer.fit()
    assert curves[True] == curves[False]
    assert [step for step, _ in told[True]] == list(range(4))
    for (_, one), (_, other) in zip(*told.values(), strict=True):
        assert one.keys() == other.keys()
        assert {name: one[name] for name in one if name.startswith(("train/", "data/"))} == {
            name: other[name] for name in other if name.startswith(("train/", "data/"))
        }
