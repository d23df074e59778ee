"""From texts to vectors: the encoder that mining, shot selection, evaluation and serving share.

Texts are de-duplicated, sorted by length and packed into rows that share the few-shot prefix, so N queries behind a
400-token prefix cost 400 tokens plus their own. With a vector store, a text whose ids were seen costs nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.base.progress import bar
from components.config import EncoderParams, PromptParams
from components.model.backbone import device_of, load_backbone, load_tokenizer, pooled
from components.model.packing import pack, plan_rows
from components.model.prompt import Prompt, Shot
from components.model.vector_store import VectorStore


class Encoder:
    """A student model ready to embed.

    Attributes:
        identity: sha256 of everything but the text that decides a vector: weights, adapter, pooling, attention, dtype.
        tokens: tokens put through the model so far.
        tokens_asked: tokens a plain encoder would have put through (each text with its own prefix, no store).
    """

    def __init__(
        self, backbone: Any, prompt: Prompt, params: EncoderParams, identity: str, store: VectorStore | None = None
    ) -> None:
        self.backbone, self.prompt, self.params, self.identity, self.store = backbone, prompt, params, identity, store
        self.device = next(backbone.parameters()).device
        self.dimension = int(backbone.config.hidden_size)
        self.tokens = self.tokens_asked = 0

    @classmethod
    def load(
        cls,
        model: Path,
        prompt: PromptParams,
        encoder: EncoderParams,
        adapter: Path | None = None,
        store: Path | None = None,
    ) -> "Encoder":
        """The student in `model`, with a LoRA adapter merged in when one is given.

        Args:
            model: folder of outputs/fetch/models.
            adapter: folder that peft wrote.
            store: folder of the vector store to read and fill; None embeds everything anew.

        Raises:
            UserError: no model or adapter in the folder.
        """
        tokenizer = load_tokenizer(model, prompt)
        backbone = load_backbone(model, tokenizer, encoder)
        if adapter is not None:
            from peft import PeftModel

            if not (adapter / "adapter_config.json").is_file():
                raise UserError(f"{adapter}: no LoRA adapter here; run the train stage (dvc repro) or correct the path")
            backbone = PeftModel.from_pretrained(backbone, adapter).merge_and_unload()
        backbone.eval().to(device_of(encoder))
        identity = _identity(model, adapter, encoder)
        vectors = VectorStore(store, identity) if store is not None else None
        return cls(backbone, Prompt(tokenizer, prompt), encoder, identity, vectors)

    def encode_queries(
        self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = (), label: str | None = None
    ) -> np.ndarray:
        """float32 [n, dim], L2-normalised: each text behind the task's instruction and shots."""
        return self._encode(self.prompt.prefix_ids(instruction, shots), self.prompt.query_ids, texts, label)

    def encode_documents(self, texts: Sequence[str], label: str | None = None) -> np.ndarray:
        """float32 [n, dim], L2-normalised: each text without a prompt."""
        return self._encode([], self.prompt.document_ids, texts, label)

    def _encode(self, prefix: list[int], tokenise: Any, texts: Sequence[str], label: str | None) -> np.ndarray:
        unique = list(dict.fromkeys(texts))
        sequences: list[list[int]] = tokenise(unique)
        counts = {text: len(ids) + len(prefix) for text, ids in zip(unique, sequences, strict=True)}
        self.tokens_asked += sum(counts[text] for text in texts)
        vectors = np.empty((len(unique), self.dimension), dtype=np.float32)
        missing = list(range(len(unique)))
        keys: list[str] = []
        if self.store is not None:
            keys = [vector_key(prefix, ids) for ids in sequences]
            found, known = self.store.get(keys)
            if found.any():  # an empty store does not know its dimension
                vectors[found] = known
            missing = [int(i) for i in np.flatnonzero(~found)]
        self._embed_missing(prefix, sequences, missing, vectors, label)
        if self.store is not None and missing:
            self.store.put([keys[i] for i in missing], vectors[missing])
        place = {text: i for i, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def _embed_missing(
        self, prefix: list[int], sequences: list[list[int]], missing: list[int], vectors: np.ndarray, label: str | None
    ) -> None:
        causal = self.params.attention == "causal"
        shared = prefix if causal and self.params.pooling == "last" else []
        if prefix and not shared:  # not exact without causal last-token pooling: every text carries its own prefix
            sequences = [prefix + ids for ids in sequences]
        rows = plan_rows([len(sequences[i]) for i in missing], len(shared), self.params.token_budget)
        with torch.inference_mode(), bar(label, len(missing), "text") if label else nullcontext() as shown:
            for members in rows:
                chosen = [missing[i] for i in members]
                row = pack(shared, [sequences[i] for i in chosen], causal).to(self.device)
                vectors[chosen] = pooled(self.backbone, row, self.params.pooling).cpu().numpy()
                self.tokens += row.tokens
                if shown is not None:
                    shown.update(len(chosen))


def vector_key(prefix: list[int], ids: list[int]) -> str:
    """The store's key of a text behind a prefix, both as token ids."""
    return hashlib.sha256(np.asarray([*prefix, -1, *ids], dtype=np.int32).tobytes()).hexdigest()


def _identity(model: Path, adapter: Path | None, params: EncoderParams) -> str:
    parts = {
        "weights": content_hash(model),
        "adapter": content_hash(adapter) if adapter else None,
        "encoder": params.model_dump(mode="json", include={"pooling", "attention", "precision"}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
