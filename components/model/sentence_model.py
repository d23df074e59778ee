"""Any sentence-transformers model: the dense teacher that retrieves, and an evaluated model to compare with.

One identity and one way to compute a vector, so that a text which one stage embedded is a hit for the others. What
decides a vector is the weights, the length limit and the dtype (the identity, which names the store's folder), and how
the text is prompted (the side, part of the text's key): its prompt, and the kind of text where the model treats
queries and documents differently.

A batch always has the same shape (components/model/batches.py) and is computed on one thread, so a vector does not
depend on the texts beside it, the shards or the number of cores, to the bit (on a CPU).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn.functional import normalize

from components.base.errors import UserError
from components.base.hashing import content_hash, json_hash
from components.base.threads import map_single_threaded
from components.contracts.shots import Shot
from components.model.batches import CPU_TOKENS, TokenBatches, attention_mask, batch_rows, padded_batch, token_batches
from components.model.device import device_of, send
from components.model.locate import locate_model
from components.model.stored_embedder import StoredEmbedder
from components.model.vector_store import VectorStore

GPU_TOKENS = 16_384  # in one forward pass; one pass at a time, with any number of threads
_TOKENISED = 64  # texts tokenised together: they come padded to the longest
_TOKENISING = Lock()  # a fast tokenizer must not be entered twice
_ON_GPU = Lock()

Result = TypeVar("Result")
Kind = Literal["query", "document"]


class Side(NamedTuple):
    """How texts are prompted: the prefix and, where the model treats queries and documents differently, their kind."""

    prompt: str = ""
    kind: Kind | None = None


PLAIN = Side()


class SentenceModel(StoredEmbedder):
    """A sentence-transformers model with a transformer as its first module.

    Attributes:
        query, document: the model's own sides, as `encode_query` and `encode_document` of the library put texts.
        prompts: the model's own, by name.
    """

    def __init__(self, model: Any, identity: str, store: VectorStore | None = None) -> None:
        super().__init__(model.eval(), identity, int(model.get_embedding_dimension()), store)
        self.query, self.document = _own_side(model, "query"), _own_side(model, "document")
        self.prompts: dict[str, str | None] = dict(model.prompts)
        self._gpu_batches = TokenBatches(GPU_TOKENS, fixed=False)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device,
        max_tokens: int | None = None,
        store: Path | None = None,
        own_precision: bool | None = None,
    ) -> "SentenceModel":
        """The model in `folder`, which cuts texts to `max_tokens` or to its own limit.

        Args:
            own_precision: compute in the precision of the model's files (bf16 or fp16 perhaps), which its identity then
                names; else in float32. None: on CUDA only.

        Raises:
            UserError: no model in the folder, or one that does not start with a transformer.
        """
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer

        folder = locate_model(folder)
        own = device.type == "cuda" if own_precision is None else own_precision
        precision = {"dtype": "auto" if own else torch.float32}
        model = SentenceTransformer(str(folder), device=str(device), local_files_only=True, model_kwargs=precision)
        if not isinstance(model[0], Transformer):
            raise UserError(f"{folder}: starts with {type(model[0]).__name__}, not a transformer; choose another model")
        most = int(model.max_seq_length or 512)
        model.max_seq_length = min(max_tokens or most, most)
        identity = _identity(folder, model)
        return cls(model, identity, VectorStore(store, identity) if store is not None else None)

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        """float32 [n, dim], L2-normalised, behind the model's own query prompt: it was not trained on our prompts."""
        return self.encode(texts, self.query)

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return self.encode(texts, self.document)

    def encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """float32 [n, dim], L2-normalised."""
        return self._encode(texts, side)

    @property
    def prompt(self) -> "OwnPrompt":
        """Token ids of texts on the model's own sides."""
        return OwnPrompt(self)

    def tokenise(self, texts: Sequence[str], side: Side) -> tuple[list[list[int]], int | None]:
        """(ids, tokens of the prompt where that is known), by the model's own rules: prompt, chat template, length."""
        ids: list[list[int]] = []
        prompt_length = None
        for start in range(0, len(texts), _TOKENISED):
            part = list(texts[start : start + _TOKENISED])
            with _TOKENISING:
                features = self.model.preprocess(part, prompt=side.prompt or None, task=side.kind)
            rows = zip(features["input_ids"], features["attention_mask"].bool(), strict=True)
            ids += [row[mask].tolist() for row, mask in rows]
            prompt_length = features.get("prompt_length")
        return ids, prompt_length

    def forward(self, texts: Sequence[str], side: Side, tokens: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        """(vectors: float32 [n, dim]; with `tokens`, float16 [tokens, width] of each text), all L2-normalised.

        Token vectors leave out the special tokens.
        """
        ids, prompt_length = self.tokenise(texts, side)
        gpu = self.model.device.type != "cpu"
        lengths = [len(sequence) for sequence in ids]

        def compute(members: list[int], length: int) -> tuple[np.ndarray, list[np.ndarray]]:
            sequences = [ids[i] for i in members]
            rows = len(members) if gpu else batch_rows(length, CPU_TOKENS)
            features: dict[str, Any] = {
                "input_ids": padded_batch(sequences, length, rows, self.model.tokenizer.pad_token_id),
                "attention_mask": attention_mask(sequences, length, rows),
            }
            features = {name: send(values, self.model.device) for name, values in features.items()}
            if prompt_length is not None:
                features["prompt_length"] = prompt_length  # read by poolings that leave the prompt out
            return self._computed(features, sequences, side, tokens)

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        matrices: list[np.ndarray] = [np.empty((0, 0), dtype=np.float16)] * (len(texts) if tokens else 0)
        with _ON_GPU if gpu else nullcontext():
            run = self._gpu_batches.run if gpu else _run_on_cpu
            for members, (pooled, hidden) in run(lengths, compute):
                vectors[members] = pooled
                for i, matrix in zip(members if tokens else [], hidden, strict=True):
                    matrices[i] = matrix
        self.tokens += sum(map(len, ids))
        return vectors, matrices

    def _computed(
        self, features: dict[str, Any], sequences: list[list[int]], side: Side, tokens: bool
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(pooled vectors, token vectors) of one batch, without the rows that only fill it."""
        kind = {"task": side.kind} if side.kind else {}
        with torch.inference_mode():
            out = self.model(features, **kind)
            pooled = normalize(out["sentence_embedding"][:, : self.dimension].float(), dim=-1)[: len(sequences)]
            hidden = normalize(out["token_embeddings"].float(), dim=-1).cpu().numpy() if tokens else None
        if hidden is None:
            return pooled.cpu().numpy(), []
        rows = [hidden[row, self._ordinary(ids)].astype(np.float16) for row, ids in enumerate(sequences)]
        return pooled.cpu().numpy(), rows

    def _ordinary(self, ids: list[int]) -> list[int]:
        """Places of the tokens that are no special ones; all of them in a text that has no other."""
        special = set(self.model.tokenizer.all_special_ids)
        return [i for i, token in enumerate(ids) if token not in special] or list(range(len(ids)))

    def _keyed(self, texts: list[str], way: Side) -> tuple[list[str], list[str]]:
        return texts, [text_key(way, text) for text in texts]

    def _embed(self, inputs: list[str], way: Side) -> np.ndarray:
        return self.forward(inputs, way, tokens=False)[0]


def _run_on_cpu(
    lengths: Sequence[int], compute: Callable[[list[int], int], Result]
) -> Iterator[tuple[list[int], Result]]:
    """(positions, result) of each batch; batches of fixed shapes, each on one thread."""
    batches = list(token_batches(lengths, CPU_TOKENS))
    results = map_single_threaded(lambda batch: compute(*batch), batches)
    yield from ((members, result) for (members, _), result in zip(batches, results, strict=True))


@dataclass(frozen=True)
class SentenceSource:
    """The source of a sentence model, as plain values that can be sent to another process.

    own_precision: see `SentenceModel.load`. It is decided here, by the device of the process that makes the source, so
    that workers on other devices compute in the same precision, under the same identity.
    """

    folder: Path
    store: Path
    device: str = "auto"
    max_tokens: int | None = None
    own_precision: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own_precision", device_of(self.device).type == "cuda")

    def load(self) -> SentenceModel:
        """The model itself. Raises UserError when the folder holds none."""
        device = device_of(self.device)
        return SentenceModel.load(self.folder, device, self.max_tokens, self.store, self.own_precision)


class OwnPrompt:
    """A sentence-transformers model's token ids, with the interface of `components.model.prompt.Prompt`."""

    def __init__(self, model: SentenceModel) -> None:
        self._model = model

    def prefix_ids(self, instruction: str, shots: Sequence[Shot] = ()) -> list[int]:
        """Always empty: our prompts are not put before its texts."""
        return []

    def query_ids(self, texts: Sequence[str], prefix: int | None = None) -> list[list[int]]:
        """Ids of the model's query prompt and each text, cut to its length."""
        return self._model.tokenise(texts, self._model.query)[0]

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the model's document prompt and each text, cut to its length."""
        return self._model.tokenise(texts, self._model.document)[0]


def text_key(side: Side, text: str) -> str:
    """The store's key of a text prompted that way."""
    kind = f"{side.kind}\0" if side.kind else ""
    return hashlib.sha256(f"{kind}{side.prompt}\0{text}".encode()).hexdigest()


def _own_side(model: Any, kind: Kind) -> Side:
    """How sentence-transformers prompts texts of this kind."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    name = next((name for name in names if name in model.prompts), model.default_prompt_name)
    return Side(model.prompts.get(name) or "", kind if _knows_kinds(model) else None)


def _knows_kinds(model: Any) -> bool:
    """Whether queries and documents may differ in more than the prompt: in length, template or what is computed."""
    first = model[0]
    lengths = first.query_length, first.document_length, first.query_expansion
    return any(lengths) or "message" in first.modality_config or "task" in model.get_model_kwargs()


def _identity(folder: Path, model: Any) -> str:
    """sha256 of what decides a vector besides the text and its side."""
    parts = {
        "weights": content_hash(folder),
        "max_tokens": model.max_seq_length,
        "dtype": str(next(model.parameters()).dtype),
    }
    return json_hash(parts)
