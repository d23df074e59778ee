"""Which GPU a process takes, and a card that cannot do what is asked, in one line."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from components.base.errors import UserError
from components.model import device
from components.model.device import all_cards, card_environment, card_memory_error_as_user_error, device_of, send


@pytest.mark.parametrize(
    ("visible", "cards", "expected"),
    [(None, 0, [None, None, None]), (None, 2, ["0", "1", "0"]), ("5,6", 2, ["5", "6", "5"])],
)
def test_workers_take_the_visible_cards_in_turn(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, cards: int, expected: list[str | None]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert [card_environment(worker).get("CUDA_VISIBLE_DEVICES") for worker in range(3)] == expected


def test_a_process_that_owns_all_cards_searches_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert all_cards() == [torch.device("cuda", 0), torch.device("cuda", 1)]


def test_what_goes_to_a_card_goes_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: done.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, place, **how: done.append((place.type, how)) or tensor)
    for place in ("cuda", "cpu"):
        send(torch.ones(1), torch.device(place))
    assert done == ["pinned", ("cuda", {"non_blocking": True}), ("cpu", {"non_blocking": True})]


def test_a_driver_that_is_too_old_is_told_and_not_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(device, "_CARD", tmp_path)
    with pytest.raises(UserError, match=r"system is too old \(found version 11040\)\.\); renew its driver"):
        device_of("auto")
    with pytest.raises(UserError, match=r"encoder\.device: cuda, but torch sees no GPU \(The NVIDIA driver"):
        device_of("cuda")
    assert device_of("cpu").type == "cpu"
    monkeypatch.setattr(device, "_CARD", tmp_path / "none")
    assert device_of("auto").type == "cpu"


def test_a_card_that_is_too_small_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA L4", total_memory=22 * 2**30)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    message = r"^train: out of the card's memory, NVIDIA L4 has 22\.0 GiB; take a larger card$"
    with pytest.raises(UserError, match=message), card_memory_error_as_user_error("train", "take a larger card"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 112.00 MiB")
