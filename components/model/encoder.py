"""From texts to vectors: the encoder that mining, shot selection, evaluation and serving share.

Texts are de-duplicated, sorted by length and packed into rows that share the few-shot prefix, so N queries behind a
400-token prefix cost 400 tokens plus their own. With a vector store, a text whose ids were seen costs nothing.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig

from components.base.errors import UserError
from components.base.hashing import content_hash, json_hash
from components.config import EncoderParams, PromptParams
from components.contracts.shots import Shot
from components.model.backbone import load_backbone, load_tokenizer, pooled
from components.model.device import device_of
from components.model.locate import locate_model
from components.model.packed_rows import PackedRows
from components.model.packing import pack
from components.model.prompt import Prompt
from components.model.stored_embedder import Deferred, StoredEmbedder
from components.model.vector_store import VectorStore


class _PromptIds(NamedTuple):
    """How texts are prompted for a student: the shared prefix ids, and the function that makes each text's own ids."""

    prefix: list[int]
    tokenise: Callable[[Sequence[str]], list[list[int]]]


class Encoder(StoredEmbedder):
    """A student model ready to embed; `identity` covers weights, adapter, pooling, attention and dtype.

    Attributes:
        budget: tokens of a row: encoder.token_budget, or what the GPU has turned out to have memory for.
    """

    def __init__(
        self,
        backbone: Any,
        prompt: Prompt,
        params: EncoderParams,
        identity: str,
        store: VectorStore | None = None,
        dimension: int | None = None,
    ) -> None:
        """`dimension` is needed for a `Deferred` backbone."""
        super().__init__(backbone, identity, dimension or int(backbone.config.hidden_size), store)
        self.prompt, self.params, self.budget = prompt, params, params.token_budget

    @classmethod
    def load(
        cls,
        model: Path,
        prompt: PromptParams,
        encoder: EncoderParams,
        adapter: Path | None = None,
        store: Path | None = None,
    ) -> "Encoder":
        """The student in `model`, with a LoRA adapter merged in if one is given; weights are loaded at the first text.

        Args:
            model: folder of outputs/fetch/models.
            adapter: folder that peft wrote.
            store: folder of the vector store to read and fill; None embeds every call's texts.

        Raises:
            UserError: no model or adapter in the folder.
        """
        if adapter is not None and not (adapter / "adapter_config.json").is_file():
            raise UserError(f"{adapter}: no LoRA adapter here; run the train stage (dvc repro) or correct the path")
        device, tokenizer = device_of(encoder.device), load_tokenizer(model, prompt)
        dimension = int(AutoConfig.from_pretrained(locate_model(model)).hidden_size)
        identity = _identity(model, adapter, encoder)
        vectors = VectorStore(store, identity) if store is not None else None

        def load() -> Any:
            backbone = load_backbone(model, tokenizer, encoder, prompt, device_map={"": device})
            if adapter is not None:
                from peft import PeftModel

                backbone = PeftModel.from_pretrained(backbone, adapter).merge_and_unload()
            return backbone.eval()

        return cls(Deferred(load), Prompt(tokenizer, prompt), encoder, identity, vectors, dimension)

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        """float32 [n, dim], L2-normalised: each text behind the task's instruction and shots."""
        prefix = self.prompt.prefix_ids(instruction, shots)
        return self._encode(texts, _PromptIds(prefix, partial(self.prompt.query_ids, prefix=len(prefix))))

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, dim], L2-normalised: each text without a prompt."""
        return self._encode(texts, _PromptIds([], self.prompt.document_ids))

    def _keyed(self, texts: list[str], way: _PromptIds) -> tuple[list[list[int]], list[str]]:
        sequences = way.tokenise(texts)
        return sequences, [vector_key(way.prefix, ids) for ids in sequences]

    def _embed(self, inputs: list[list[int]], way: _PromptIds) -> np.ndarray:
        causal = self.params.attention == "causal"
        shared = way.prefix if causal and self.params.pooling == "last" else []
        if way.prefix and not shared:  # not exact without causal last-token pooling: every text has its own prefix
            inputs = [way.prefix + ids for ids in inputs]
        vectors = np.empty((len(inputs), self.dimension), dtype=np.float32)
        device = next(self.model.parameters()).device

        def compute(members: list[int], tokens: int) -> np.ndarray:
            row = pack(shared, [inputs[i] for i in members], causal).to(device)
            found: np.ndarray = pooled(self.model, row, self.params.pooling).cpu().numpy()
            self.tokens += row.tokens
            return found

        rows = PackedRows(self.budget, len(shared))
        with torch.inference_mode():
            for members, found in rows.run([len(ids) for ids in inputs], compute):
                vectors[members] = found
        self.budget = rows.budget
        return vectors


@dataclass(frozen=True)
class EncoderSource:
    """The source of an encoder, as plain values that can be sent to another process."""

    model: Path
    store: Path
    prompt: PromptParams
    encoder: EncoderParams
    adapter: Path | None = None

    def load(self) -> Encoder:
        """The encoder itself. Raises UserError when a folder holds no model."""
        return Encoder.load(self.model, self.prompt, self.encoder, self.adapter, self.store)


def vector_key(prefix: list[int], ids: list[int]) -> str:
    """The store's key of a text behind a prefix, both as token ids."""
    return hashlib.sha256(np.asarray([*prefix, -1, *ids], dtype=np.int32).tobytes()).hexdigest()


def _identity(model: Path, adapter: Path | None, params: EncoderParams) -> str:
    parts = {
        "weights": content_hash(model),
        # An adapter holds the rows of the prompt's tokens; without one they start as their words' (grow_embeddings).
        "adapter": content_hash(adapter) if adapter else "rows of words",
        "encoder": params.model_dump(mode="json", include={"pooling", "attention", "precision"}),
    }
    return json_hash(parts)
