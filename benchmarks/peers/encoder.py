"""A peer's model in our evaluation: its own prompt in front of (and behind) a query, documents bare."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.contracts.shots import Shot
from components.model.device import device_of
from components.model.sentence_model import PLAIN, SentenceModel


@dataclass(frozen=True)
class PeerSource:
    """What a peer's model is loaded from; `template` has {instruction} and {text}."""

    folder: Path
    store: Path
    template: str

    def load(self) -> "PeerModel":
        model = PeerModel.load(self.folder, device_of("cpu"), None, self.store)
        assert isinstance(model, PeerModel)
        model.template = self.template
        model.identity = hashlib.sha256(f"{model.identity} {self.template}".encode()).hexdigest()
        return model


class PeerModel(SentenceModel):
    """Queries as the peer was trained on them; its shots, if any, were for training."""

    template = "{text}"

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return self.encode([self.template.format(instruction=instruction, text=text) for text in texts], PLAIN)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return self.encode(texts, PLAIN)
