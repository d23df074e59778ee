"""What the sections of benchmarks/gpu.py share: figures on disk after each, clocks, random rows, a random student."""

import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.autograd import DeviceType
from transformers import MistralConfig, MistralModel

from components.config import Config, parse_config, read_parameters
from components.model.attention import PACKED
from components.model.backbone import PROJECTIONS, pooled
from components.model.fused import fuse_elementwise
from components.model.last_layer import narrow_last_layer
from components.model.packing import Row, pack
from components.training.train import wrap_adapter

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
FULL = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
TINY = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
Size = TypeVar("Size")


@dataclass
class Bench:
    """One run: its sizes, its figures and the file they are kept in."""

    tiny: bool
    out: Path
    device: torch.device
    figures: dict[str, Any] = field(default_factory=dict)
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    _student: Any = None

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def shape(self) -> dict[str, int]:
        return TINY if self.tiny else FULL

    @property
    def rate(self) -> float:
        """FLOP/s of a matrix product, which `environment` has measured: what MFU is against."""
        return float(self.figures["matmul_tflops"]) * 1e12

    def pick(self, full: Size, tiny: Size) -> Size:
        """The size of this run."""
        return tiny if self.tiny else full

    def note(self, **figures: Any) -> None:
        """Keep figures: printed, and the file is written again, so a run that is cut still tells."""
        self.figures.update(figures)
        partial = self.out / "gpu.json.partial"
        partial.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.out / "gpu.json")
        shown = (
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in figures.items()
        )
        print("   " + "  ".join(shown), flush=True)

    # ------------------------------------------------------------ clocks and memory

    def now(self) -> float:
        """Seconds, after the device has finished what it was given."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self, work: Callable[[], Any], times: int = 3, warm: int = 1) -> float:
        """Median seconds of `times` calls after `warm` that are not counted."""
        for _ in range(warm):
            work()
        taken = []
        for _ in range(times):
            begin = self.now()
            work()
            taken.append(self.now() - begin)
        return statistics.median(taken)

    def free(self) -> None:
        """Free what no one refers to, and count the peak from here."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def reset_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    def kernel_seconds(self, profile: Any) -> dict[str, float]:
        """Seconds by kernel of a finished profile; on a CPU by operator.

        Of a card only its own events count: an operator's row repeats the time of the kernels that it started.
        """
        taken: dict[str, float] = {}
        for event in profile.key_averages():
            if self.cuda and (event.device_type != DeviceType.CUDA or event.is_user_annotation):
                continue
            micros = event.self_device_time_total if self.cuda else event.self_cpu_time_total
            taken[event.key] = taken.get(event.key, 0.0) + micros / 1e6
        return {name: seconds for name, seconds in taken.items() if seconds > 0}

    def peak(self) -> float:
        """GiB of the card, 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / GIB if self.cuda else 0.0

    # ------------------------------------------------------------ data

    def ids(self, number: int) -> list[int]:
        """Random token ids."""
        return [self.draw.randrange(3, self.pick(31_000, 250)) for _ in range(number)]

    def row(self, tokens: int, shortest: int, longest: int, prefix: int = 0) -> Row:
        """A packed row of about `tokens` tokens: texts of these lengths behind a prefix."""
        sequences, room = [], tokens - prefix
        while room > longest:
            sequences.append(self.ids(self.draw.randint(shortest, longest)))
            room -= len(sequences[-1])
        return pack(self.ids(prefix), sequences)

    # ------------------------------------------------------------ the student

    def recipe(self, name: str = "mistral-7b", **train: Any) -> Config:
        """The parameters of a recipe on this device, with changes of `train`."""
        raw = read_parameters(ROOT / "recipes" / f"{name}.yaml")
        raw["encoder"] |= {"device": self.device.type}
        raw["train"] |= {"precision": "bf16"} | train
        return parse_config(raw, name)

    def student(self, checkpointing: bool = False) -> Any:
        """A random Mistral with the recipe's adapter, made once; without or with gradient checkpointing."""
        if self._student is None:
            self._student = self.adapted(self.shape["num_hidden_layers"])
        set_checkpointing(self._student, checkpointing)
        return self._student.train()

    def drop_student(self) -> None:
        self._student = None
        self.free()

    def adapted(self, layers: int, **train: Any) -> Any:
        """A new random student of `layers` layers in bf16, with an adapter that is not zero."""
        shape: dict[str, Any] = self.shape | {"num_hidden_layers": layers}
        config = MistralConfig(vocab_size=self.pick(32_003, 300), sliding_window=None, **shape)
        config._attn_implementation = PACKED
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            with self.device:
                backbone = MistralModel(config)
        finally:
            torch.set_default_dtype(torch.float32)
        backbone.config.use_cache = False
        backbone.requires_grad_(False)
        narrow_last_layer(backbone)
        if self.cuda:
            fuse_elementwise(backbone)
        lora = {"rank": self.pick(64, 4), "alpha": 32}
        special = [config.vocab_size - place for place in (3, 2, 1)]
        model = wrap_adapter(backbone, special, self.recipe(lora=lora, **train))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.01)
        return model.train()

    def forward(self, model: Any, row: Row) -> torch.Tensor:
        """The row's vectors, in the precision of training."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return pooled(model, row.to(self.device), "last")


def set_checkpointing(model: Any, on: bool) -> None:
    """Switch gradient checkpointing of a peft model."""
    if on:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_disable()


def projections(model: Any) -> int:
    """Parameters of all projections: the weights that each token is multiplied with."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if "lora_" not in name and any(f".{projection}." in name for projection in PROJECTIONS)
    )


def texts(draw: random.Random, words: Sequence[str], number: int, shortest: int, longest: int) -> list[str]:
    """Random texts of that many words each."""
    return [" ".join(draw.choices(words, k=draw.randint(shortest, longest))) for _ in range(number)]
