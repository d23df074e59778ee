"""Adapter of our encoders to mteb's model interface.

One class serves every model of an evaluation (base student, trained student, teacher): it looks up the task's
instruction and shots, decides which side of a task a text is on, and runs retrieval with ranking.py.

    side that mteb names    text becomes
    query, or none          the task's prompt with its shots, then the text
    document                the text alone; in a symmetric task the prompt without shots, then the text

Retrieval and reranking name both sides. STS and pair classification name none, so `name_sides` (tasks.py) sets their
`input1_prompt_type`; clustering, classification and summarization have one kind of text only.

mteb identifies a model by name and revision only, so the revision is a hash of everything that affects a score:
weights, tokenizer, template, lengths, dtype, instructions and shots. A stale cached result is impossible.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from components.base.errors import UserError
from components.base.hashing import json_hash
from components.benchmark.ranking import Corpus, search
from components.contracts.shots import TaskPrompt
from components.model.stored_embedder import TextEncoder

ORGANISATION = "embedding-foundry"


class EvaluatedEncoder(TextEncoder, Protocol):
    """Interface of an evaluated model; implemented by `components.model.encoder.Encoder` and `SentenceModel`."""

    identity: str
    dimension: int
    tokens: int

    @property
    def prompt(self) -> Any: ...  # prefix_ids, query_ids, document_ids


class FoundryModel(AbsEncoder):
    """An encoder with its prompt table, for `mteb.evaluate`; also implements mteb's SearchProtocol."""

    mteb_model_meta: ModelMeta

    def __init__(
        self, name: str, encoder: EvaluatedEncoder, prompts: Mapping[str, TaskPrompt], settings: Mapping[str, Any]
    ) -> None:
        """
        Args:
            name: the model's short name, such as `trained`.
            prompts: by mteb task name; a task without one raises UserError.
            settings: other settings that affect a vector (template, lengths); part of the revision hash.
        """
        self.encoder, self.prompts, self.settings = encoder, dict(prompts), dict(settings)
        self.revision = _revision(encoder.identity, self.prompts, self.settings)
        self.mteb_model_meta = _meta(f"{ORGANISATION}/{name}", self.revision, encoder.dimension)
        self._corpus: Corpus | None = None

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """float32 [n, dim] of the texts of an mteb data loader."""
        return self.embed([text for batch in inputs for text in batch["text"]], task_metadata, prompt_type)

    def embed(self, texts: Sequence[str], task_metadata: Any, prompt_type: PromptType | None) -> np.ndarray:
        """float32 [n, dim]: `texts` of one side of a task, in that side's prompt."""
        prompt = self.prompt_of(task_metadata.name)
        document = prompt_type == PromptType.document
        if document and not prompt.symmetric:
            return self.encoder.encode_documents(texts)
        shots = () if document else prompt.shots
        return self.encoder.encode_queries(texts, prompt.instruction, shots)

    def prompt_of(self, task: str) -> TaskPrompt:
        """The task's prompt. Raises UserError if there is none: a generic one would change scores silently."""
        if task not in self.prompts:
            raise UserError(
                f"evaluate: no instruction for task {task}; add one to components/config/benchmark_tasks.yaml"
            )
        return self.prompts[task]

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """mteb's SearchProtocol: store the corpus; `search` embeds it."""
        self._corpus = Corpus.of(corpus)

    def search(
        self, queries: Any, *, task_metadata: Any, top_k: int, top_ranked: Any = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """mteb's SearchProtocol: query id -> document id -> cosine, the best `top_k` (or the given candidates)."""
        corpus, self._corpus = self._corpus, None
        if corpus is None:
            raise RuntimeError("search before index")
        return search(self, corpus, queries, task_metadata, top_k, top_ranked)


def _revision(identity: str, prompts: Mapping[str, TaskPrompt], settings: Mapping[str, Any]) -> str:
    table = {
        task: [prompt.instruction, prompt.symmetric, [[shot.query, shot.response] for shot in prompt.shots]]
        for task, prompt in prompts.items()
    }
    return json_hash([identity, table, dict(settings)])[:24]


def _meta(name: str, revision: str, dimension: int) -> ModelMeta:
    return ModelMeta(
        loader=None,
        name=name,
        revision=revision,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=dimension,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=True,
        training_datasets=None,
    )
