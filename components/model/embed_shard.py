"""A shard of embedding: texts that are put one way to one encoder, in whichever process takes it.

The vectors go into the store, one `put` a shard, so nothing travels back and a shard is the same wherever it runs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.config import EncoderParams, PromptParams
from components.model.backbone import device_of
from components.model.encoder import Encoder
from components.model.load_once import load_once
from components.model.prompt import Shot
from components.model.sentence_model import SentenceModel
from components.model.stored_embedder import TextEncoder


@dataclass(frozen=True)
class EncoderSource:
    """Where an encoder is loaded from; without `prompt` it is a sentence-transformers model, cut to `max_tokens`."""

    model: Path
    store: Path
    encoder: EncoderParams
    prompt: PromptParams | None = None
    adapter: Path | None = None
    max_tokens: int | None = None

    def load(self) -> Encoder | SentenceModel:
        """The encoder itself. Raises UserError when a folder holds no model."""
        if self.prompt is None:
            return SentenceModel.load(self.model, device_of(self.encoder), self.max_tokens, self.store)
        return Encoder.load(self.model, self.prompt, self.encoder, self.adapter, self.store)


@dataclass(frozen=True)
class Way:
    """One way to prompt a text: as a plain document, or behind an instruction and shots."""

    document: bool
    instruction: str = ""
    shots: tuple[Shot, ...] = ()


@dataclass(frozen=True)
class Shard:
    """Texts that are embedded in one call and stored in one piece."""

    way: Way
    texts: list[str]


def embed_shard(source: EncoderSource, shard: Shard) -> None:
    """Embed one shard into the store."""
    embed(load_once(source), shard)


def embed(encoder: TextEncoder, shard: Shard) -> np.ndarray:
    """float32 [n, dim] of a shard's texts, in the encoder's store from now on."""
    if shard.way.document:
        return encoder.encode_documents(shard.texts)
    return encoder.encode_queries(shard.texts, shard.way.instruction, shard.way.shots)
