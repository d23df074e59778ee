"""A sentence-transformers model as an evaluated encoder: the teacher, or any public model to compare with.

It keeps its own prompts (`query`, `document` in its configuration); our instructions and shots are not put before its
texts, as it was not trained on them. Vectors go through the same content-addressed store as ours.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base.hashing import content_hash
from components.config import EncoderParams
from components.model.backbone import device_of
from components.model.encoder import vector_key
from components.model.locate import locate_model
from components.model.prompt import Shot
from components.model.vector_store import VectorStore

BATCH = 16  # texts in one forward pass; small batches of like length waste least on a CPU


class ForeignPrompt:
    """Token ids as the foreign model makes them, with the interface of `components.model.prompt.Prompt`."""

    def __init__(self, tokenizer: Any, prompts: dict[str, str], length: int | None) -> None:
        self.tokenizer, self.prompts, self.length = tokenizer, prompts, length

    def prefix_ids(self, instruction: str, shots: Sequence[Shot] = ()) -> list[int]:
        """Always empty: our prompts are not put before its texts."""
        return []

    def query_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of its own query prompt and each text, cut to its length."""
        return self._ids(texts, self.prompts.get("query", ""))

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of its own document prompt and each text, cut to its length."""
        return self._ids(texts, self.prompts.get("document", ""))

    def _ids(self, texts: Sequence[str], prompt: str) -> list[list[int]]:
        if not texts:
            return []
        cut: dict[str, Any] = {"truncation": self.length is not None, "max_length": self.length}
        ids: list[list[int]] = self.tokenizer([prompt + text for text in texts], **cut)["input_ids"]
        return ids


class ForeignEncoder:
    """Attributes as `components.model.encoder.Encoder`: identity, prompt, dimension, tokens, tokens_asked."""

    def __init__(self, model: Any, identity: str, store: VectorStore | None = None) -> None:
        self.model, self.identity, self.store = model, identity, store
        self.prompt = ForeignPrompt(model.tokenizer, dict(model.prompts), model.max_seq_length)
        self.dimension = int(model.get_embedding_dimension())
        self.tokens = self.tokens_asked = 0

    @classmethod
    def load(cls, folder: Path, params: EncoderParams, store: Path | None = None) -> "ForeignEncoder":
        """The model in `folder`, on the device the parameters ask for.

        Raises:
            UserError: no model in the folder.
        """
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(locate_model(folder)), device=str(device_of(params)), local_files_only=True)
        settings = {"prompts": model.prompts, "length": model.max_seq_length}
        text = content_hash(folder) + json.dumps(settings, sort_keys=True)
        identity = hashlib.sha256(text.encode()).hexdigest()
        return cls(model, identity, VectorStore(store, identity) if store is not None else None)

    def encode_queries(
        self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = (), label: str | None = None
    ) -> np.ndarray:
        """float32 [n, dim], L2-normalised; instruction and shots are ignored."""
        return self._encode(self.model.encode_query, self.prompt.query_ids, texts)

    def encode_documents(self, texts: Sequence[str], label: str | None = None) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return self._encode(self.model.encode_document, self.prompt.document_ids, texts)

    def _encode(self, encode: Any, tokenise: Any, texts: Sequence[str]) -> np.ndarray:
        unique = list(dict.fromkeys(texts))
        sequences: list[list[int]] = tokenise(unique)
        length = {text: len(ids) for text, ids in zip(unique, sequences, strict=True)}
        self.tokens_asked += sum(length[text] for text in texts)
        vectors = np.empty((len(unique), self.dimension), dtype=np.float32)
        missing = list(range(len(unique)))
        keys = [vector_key([], ids) for ids in sequences]
        if self.store is not None:
            found, known = self.store.get(keys)
            if found.any():
                vectors[found] = known
            missing = [int(i) for i in np.flatnonzero(~found)]
        if missing:
            wanted = [unique[i] for i in missing]
            vectors[missing] = encode(wanted, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
            self.tokens += sum(length[text] for text in wanted)
            if self.store is not None:
                self.store.put([keys[i] for i in missing], vectors[missing])
        place = {text: i for i, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]
