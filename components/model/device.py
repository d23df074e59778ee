"""Select the torch device (CUDA or CPU)."""

import torch

from components.base.errors import UserError


def device_of(wanted: str) -> torch.device:
    """The device for `encoder.device`; `auto` is CUDA if available, else the CPU."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml: encoder.device: cuda, but torch sees no GPU; set auto or cpu")
    return torch.device(wanted)
