"""Dev check during training: nDCG@10 on a fixed sample of dev queries, for early stopping."""

import numpy as np
import torch

from components.base import watchdog
from components.config import DevParams
from components.contracts.schedule import keyed_random
from components.model.encoder import Encoder
from components.statistics.ndcg import ndcg_at_10
from components.training.examples import TrainingData

_DEV = 9


class DevCheck:
    """Retrieval over a sample of each task's dev corpus that includes the positives of its dev queries."""

    def __init__(self, data: TrainingData, params: DevParams, seed: int) -> None:
        self.data = data
        names = sorted(name for name in data.dev_queries if data.tasks[name].kind in ("retrieval", "reranking"))
        draw = keyed_random(seed, _DEV)
        self.queries: dict[str, np.ndarray] = {}
        self.documents: dict[str, np.ndarray] = {}
        self.relevant: dict[str, np.ndarray] = {}  # bool [queries, documents] of a task
        for name in names:
            pool = data.dev_queries[name]
            most = max(1, params.queries // len(names))
            chosen = pool[np.sort(draw.permutation(len(pool))[:most])]
            places, judged = data.judgements.of(chosen)
            needed = np.unique(judged)
            others = np.setdiff1d(data.dev_documents.get(name, np.empty(0, needed.dtype)), needed)
            extra = max(0, params.documents // len(names) - len(needed))
            documents = np.concatenate([needed, others[np.sort(draw.permutation(len(others))[:extra])]])
            relevant = np.zeros((len(chosen), len(documents)), dtype=bool)
            relevant[places, np.searchsorted(needed, judged)] = True
            self.queries[name], self.documents[name], self.relevant[name] = chosen, documents, relevant

    def score(self, encoder: Encoder, device: torch.device) -> float:
        """Mean nDCG@10 over tasks, with zero-shot prompts; 0 when no task has dev queries."""
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # by default every visible card's
            scores = [self._task(encoder, name) for name in self.queries]
        return float(np.mean(scores)) if scores else 0.0

    def _task(self, encoder: Encoder, name: str) -> float:
        watchdog.beat()
        task, data = self.data.tasks[name], self.data
        texts = data.document_text.take(self.documents[name])
        queries = encoder.encode_queries(data.query_text.take(self.queries[name]), task.instruction)
        documents = (
            encoder.encode_queries(texts, task.instruction) if task.symmetric else encoder.encode_documents(texts)
        )
        return float(ndcg_at_10(queries @ documents.T, self.relevant[name]).mean())
