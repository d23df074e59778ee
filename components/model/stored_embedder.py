"""The embed-and-store loop that all encoders share: a text is embedded at most once, whichever stage asks for it.

    distinct texts -> keys -> vectors that are stored -> embed the others -> store them -> one row a text

An encoder says what a text's key is and how texts become vectors; a reader is an encoder without its model, for
processes that only score.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from components.contracts.shots import Shot
from components.model.vector_store import VectorStore


class MissingVectorError(Exception):
    """A reader was asked for a text that is not in the store."""


@dataclass(frozen=True)
class Deferred:
    """Weights that are loaded when the first text is embedded: a process that only reads the store never holds them."""

    load: Callable[[], Any]


class TextEncoder(Protocol):
    """Interface that embeds a task's texts: queries behind its instruction and shots, and documents."""

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray: ...

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray: ...


class StoredEmbedder(ABC):
    """Base of the encoders.

    Attributes:
        model: what computes vectors, loaded now if it is `Deferred`; None in a reader.
        identity: sha256 of everything but the prompted text that decides a vector.
        dimension: of a vector.
        store: looked up first and filled; None embeds every call's texts.
        tokens: tokens put through the model so far.
    """

    def __init__(self, model: Any, identity: str, dimension: int, store: VectorStore | None = None) -> None:
        self._model, self.identity, self.dimension, self.store = model, identity, dimension, store
        self.tokens = 0

    @property
    def model(self) -> Any:
        if isinstance(self._model, Deferred):
            self._model = self._model.load()
        return self._model

    def reader(self) -> Self:
        """This encoder without its model: it reads the store, and raises MissingVectorError for what is not there."""
        reader = copy.copy(self)
        reader._model = None
        return reader

    @abstractmethod
    def _keyed(self, texts: list[str], way: Any) -> tuple[list[Any], list[str]]:
        """(what `_embed` takes, key in the store) of each text; `way` is how the subclass prompts texts."""

    @abstractmethod
    def _embed(self, inputs: list[Any], way: Any) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""

    def _encode(self, texts: Sequence[str], way: Any) -> np.ndarray:
        """float32 [n, dim], a row a text."""
        unique = list(dict.fromkeys(texts))
        inputs, keys = self._keyed(unique, way)
        vectors = np.empty((len(unique), self.dimension), dtype=np.float32)
        missing = np.arange(len(unique))
        if self.store is not None:
            found, known = self.store.get(keys)
            if found.any():  # an empty store does not know its dimension
                vectors[found] = known
            missing = np.flatnonzero(~found)
        if len(missing):
            if self.model is None:
                raise MissingVectorError(f"{len(missing)} of {len(unique)} texts")
            vectors[missing] = self._embed([inputs[i] for i in missing], way)
            if self.store is not None:
                self.store.put([keys[i] for i in missing], vectors[missing])
        place = {text: i for i, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]
