"""What a step computes with lies on the card: torch's `meta` device stands for one, and no operation takes tensors of
both sides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from components.model import attention
from components.model.encoder import Encoder
from components.training.special_rows import train_rows_in_place
from components.training.step import Step
from components.training.trainer import Trainer
from components.training.world import World

aten = torch.ops.aten
CARD = torch.device("meta")
CHANGES: dict[str, Any] = {
    "train.gradcache": True,
    "train.gradient_checkpointing": True,
    "train.shots": {"max": 2, "share": 2},
    "train.row_tokens": 300,
    "train.query_negatives": True,
    "train.document_negatives": True,
    "train.false_negative_margin": 0.1,
    "train.distillation": {"weight": 1.0, "margin_mse_weight": 1.0},
    "train.matryoshka": [8],
    "train.lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
}


class OneSide(TorchDispatchMode):
    """An operation on tensors of the host and of the card is an error, but for copies; numbers that are read are 1."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        on_card = any(x.device == CARD for x in taken)
        if function.overloadpacket is aten._local_scalar_dense and on_card:
            return 1.0
        devices = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, torch.device)]
        to_host = torch.device("cpu") in devices
        if function.overloadpacket in (aten._to_copy, aten.to) and on_card and to_host:
            return torch.ones(taken[0].shape, dtype=taken[0].dtype)
        sides = {x.device for x in taken if x.dim()}  # a number without dimensions may come from the host
        if len(sides) > 1 and function.overloadpacket is not aten.copy_:
            raise AssertionError(f"{function} takes tensors of {sides}")
        return function(*args, **(kwargs or {}))


@contextmanager
def on_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a card's mask, and the dense attention in place of its kernel."""

    def flex(row: Any, query: Any, key: Any, value: Any, scaling: float) -> torch.Tensor:
        assert attention.flex_mask(row).kv_indices.device == query.device == CARD
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, attn_mask=row.dense_mask(), enable_gqa=True).transpose(1, 2)

    with monkeypatch.context() as patch:
        patch.setattr(attention, "blocked_attention", flex)
        patch.setattr(attention, "attention_at", lambda at, *given: flex(*given))
        patch.setattr(Step, "autocast", lambda step: nullcontext())  # it knows no meta device
        with OneSide():
            yield


@pytest.fixture
def trainer_on_card(make_trainer: Callable[..., Trainer], tmp_path: Any) -> Callable[..., Trainer]:
    def make(**changes: Any) -> Trainer:
        host = make_trainer(**CHANGES, **changes)
        model = host.model.to(CARD)
        train_rows_in_place(model)
        return Trainer(model, host.prompt, host.batches.data, host.config, tmp_path, lambda *_: None, World())

    return make


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"train.multi_positive": True, "encoder.pooling": "mean"}])
def test_a_step_takes_no_tensors_of_host_and_card_together(
    trainer_on_card: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    trainer = trainer_on_card(**change)
    trainer.lags = True
    with on_card(monkeypatch):
        trainer._run_step(1, lambda: trainer._prepare(1))
        trainer._finish_step()
    assert [row["loss"] for row in trainer.curve] == [1.0]


def test_an_encoder_takes_no_tensors_of_host_and_card_together(
    trainer_on_card: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_on_card()
    encoder = Encoder(trainer.model.eval(), trainer.prompt, trainer.config.encoder, identity="")
    with on_card(monkeypatch):
        found = encoder.encode_queries(["is the sky blue", "is the sea"], "Find the passage.")
    assert found.shape == (2, 32)


def test_an_operation_on_both_sides_is_seen() -> None:
    with pytest.raises(AssertionError, match="index_select"), OneSide():
        torch.ones(3, device=CARD).index_select(0, torch.tensor([0]))
