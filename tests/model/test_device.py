"""Which GPU a process takes."""

import pytest
import torch

from components.model.device import all_cards, card_environment


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
