"""A shard of embedding: texts that are prompted in one way for one encoder, in whichever process takes it.

The vectors go into the store, one `put` a shard, so nothing travels back and a shard is the same wherever it runs.
"""

from dataclasses import dataclass

import numpy as np

from components.contracts.shots import Shot
from components.model.load_once import ModelSource, load_once
from components.model.stored_embedder import TextEncoder


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

    def parts(self, size: int) -> "list[Shard]":
        """The same in shards of at most `size` texts."""
        return [Shard(self.way, self.texts[start : start + size]) for start in range(0, len(self.texts), size)]


def embed_shard(source: ModelSource, shard: Shard) -> None:
    """Embed one shard into the store."""
    embed(load_once(source), shard)


def embed(encoder: TextEncoder, shard: Shard) -> np.ndarray:
    """float32 [n, dim] of a shard's texts, in the encoder's store from now on."""
    if shard.way.document:
        return encoder.encode_documents(shard.texts)
    return encoder.encode_queries(shard.texts, shard.way.instruction, shard.way.shots)
