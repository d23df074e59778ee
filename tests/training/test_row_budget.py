"""A row that does not fit the card: smaller rows, also after a restart, and an error when none can help."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.base.errors import UserError
from components.training.row_budget import RowBudget

GRADCACHE = {"train.gradcache": True, "train.row_tokens": 160, "train.steps": 2}


def small_card(trainer: Any, fits: int, in_backward: bool = False) -> list[int]:
    """Rows of more than `fits` tokens run out of memory; returns the tokens of those that ran."""
    ran: list[int] = []
    real = trainer.step._encode

    def encode(step: int, i: int, placed: Any) -> torch.Tensor:
        if placed.tokens > fits and torch.is_grad_enabled() >= in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory")
        ran.append(placed.tokens)
        encoded: torch.Tensor = real(step, i, placed)
        return encoded

    trainer.step._encode = encode
    return ran


@pytest.mark.slow
@pytest.mark.parametrize("in_backward", [False, True])
def test_rows_get_smaller_until_they_fit(
    make_trainer: Callable[..., Any], caplog: pytest.LogCaptureFixture, in_backward: bool
) -> None:
    trainer = make_trainer(**GRADCACHE)
    ran = small_card(trainer, 100, in_backward)
    with caplog.at_level(logging.WARNING):
        curve = trainer.fit()
    assert len(curve) == 2
    assert trainer.budget.tokens <= 80
    assert max(ran[-4:]) <= 100
    assert caplog.text.count("does not fit the card's memory; train.row_tokens is") == 1
    assert curve[0]["loss"] == pytest.approx(
        make_trainer(**{**GRADCACHE, "train.row_tokens": 80}).fit()[0]["loss"], rel=1e-4
    )


@pytest.mark.slow
def test_a_restart_goes_on_with_the_smaller_rows(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(**GRADCACHE)
    small_card(trainer, 100)
    trainer.fit()
    again = make_trainer(**GRADCACHE)
    assert again.budget.tokens == trainer.budget.tokens < 160
    assert RowBudget(40, trainer.work).tokens == 40


def test_a_text_that_no_row_can_hold_is_an_error(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(**GRADCACHE)
    small_card(trainer, 3)
    with pytest.raises(
        UserError, match=r"one text and its prefix, \d+ tokens, does not fit .*4bit.*checkpoint is kept"
    ):
        trainer.fit()


def test_without_gradcache_smaller_rows_do_not_help(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(**{**GRADCACHE, "train.gradcache": False})
    small_card(trainer, 100)
    with pytest.raises(UserError, match=r"set train\.gradcache: true"):
        trainer.fit()


def test_only_a_smaller_number_is_kept(tmp_path: Path) -> None:
    assert RowBudget(512, tmp_path).tokens == 512
    (tmp_path / "row_tokens").write_text("1024")
    assert RowBudget(512, tmp_path).tokens == 512
