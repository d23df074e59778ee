"""Training metrics of a step: tokens/s, MFU, peak memory, ETA, in-batch accuracy and margin."""

import resource
import time
from dataclasses import dataclass, field

import torch

from components.training.targets import Targets


@dataclass
class Meter:
    """Speed metrics per step. FLOPs per token: 4 x non-embedding parameters (the base is frozen, so it has no weight
    gradients). Attention and recomputation are not counted, so MFU is a lower bound."""

    parameters: int
    peak_flops: float
    device: torch.device
    started: float = field(default_factory=time.monotonic)
    steps: int = 0

    def measure(self, seconds: float, tokens: int, padded_tokens: int, steps_left: int) -> dict[str, float]:
        """Rates of one step, and the ETA of the remaining steps at the mean pace of this process.

        Args:
            tokens: tokens processed by the model.
            padded_tokens: tokens of the same batch as a padded trainer counts them (each query with its own prefix):
                "useful" tokens, since a padded trainer must process them for the same result.
        """
        rate = tokens / seconds
        self.steps += 1
        return {
            "progress/eta_seconds": (time.monotonic() - self.started) / self.steps * steps_left,
            "speed/step_seconds": seconds,
            "speed/tokens_per_second": rate,
            "speed/useful_tokens_per_second": padded_tokens / seconds,
            "speed/mfu": 4 * self.parameters * rate / self.peak_flops,
            "memory/peak_gib": peak_memory(self.device) / 2**30,
        }


def peak_memory(device: torch.device) -> int:
    """Peak GPU allocation, or peak resident set size of the process, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measured FLOP/s of a plain matrix product on this device: the reference for MFU.

    Of random numbers: a card at its power limit multiplies zeros and ones an eighth faster.
    """
    size = 8192 if device.type == "cuda" else 768
    own = torch.Generator().manual_seed(0)  # training's random numbers stay the same
    a = torch.randn(size, size, generator=own).to(device, dtype)
    best = 0.0
    for _ in range(5):
        begin = _now(device)
        a @ a
        best = max(best, 2 * size**3 / (_now(device) - begin))
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure_contrast(scores: torch.Tensor, targets: Targets, temperature: float) -> dict[str, torch.Tensor]:
    """From cosines [B, M]: share of positives above the best negative, and mean margin to it (over temperature)."""
    own = scores.gather(1, targets.positive[:, None])[:, 0]
    others = (
        scores.masked_fill(targets.relevant | targets.equal, -1)
        .scatter(1, targets.positive[:, None], -1.0)
        .max(-1)
        .values
    )
    return {"accuracy": (own > others).float().mean(), "margin": ((own - others) / temperature).mean()}
