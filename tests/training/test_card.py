"""bf16 on a card that does not have it is refused before any weight is read."""

from typing import Any

import pytest
import torch

from components.base.errors import UserError
from components.config import parse_config
from components.training.card import check_card
from tests.samples import small_parameters


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"encoder.precision": "bf16"}, True),
        ({"train": {**small_parameters()["train"], "precision": "bf16"}}, True),
        ({"train": {**small_parameters()["train"], "quantization": "4bit"}}, True),
        ({"train": {**small_parameters()["train"], "precision": "auto"}}, False),  # fp32 there
    ],
)
def test_bf16_on_a_card_without_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    config = parse_config(small_parameters(**changes), "test")
    check_card(config, torch.device("cpu"))
    if not refused:
        check_card(config, torch.device("cuda", 0))
        return
    with pytest.raises(UserError, match=r"Tesla T4 does not multiply bf16; take a card of compute capability 8\.0"):
        check_card(config, torch.device("cuda", 0))
