"""Check that a GPU supports bf16 where training needs it."""

import torch

from components.base.errors import UserError
from components.config import Config
from components.model.device import card_has_bf16

NO_BF16 = (
    "take a card of compute capability 8.0 or more (A100, L4, RTX 30 and 40, H100), or set encoder.precision and "
    "train.precision: fp32 and train.quantization: none, for a student that is small enough"
)


def needs_bf16(config: Config) -> bool:
    """Whether these parameters compute in bf16 on a GPU."""
    train = config.train
    return "bf16" in (config.encoder.precision, train.precision) or train.quantization == "4bit"


def check_card(config: Config, device: torch.device) -> None:
    """Refuse a card that lacks what the parameters ask for, before any weight is read.

    Raises:
        UserError: bf16 on a card that only emulates it.
    """
    if device.type != "cuda" or not needs_bf16(config):
        return
    if not card_has_bf16():
        raise UserError(f"train: {torch.cuda.get_device_name(device)} does not multiply bf16; {NO_BF16}")
