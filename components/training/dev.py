"""Dev check during training: nDCG@10 on a fixed sample of dev queries, for early stopping."""

import numpy as np
import torch

from components.config import DevParams
from components.model.encoder import Encoder
from components.statistics.ndcg import ndcg_at_10
from components.training.draws import random
from components.training.examples import TrainingData

_DEV = 9


class DevCheck:
    """Retrieval over a sample of each task's dev corpus that includes the positives of its dev queries."""

    def __init__(self, data: TrainingData, params: DevParams, seed: int) -> None:
        self.data = data
        names = sorted(name for name in data.dev_queries if data.tasks[name].kind in ("retrieval", "reranking"))
        draw = random(seed, _DEV)
        self.queries: dict[str, list[int]] = {}
        self.documents: dict[str, list[int]] = {}
        for name in names:
            pool = data.dev_queries[name]
            most = max(1, params.queries // len(names))
            chosen = [pool[int(i)] for i in np.sort(draw.permutation(len(pool))[:most])]
            needed = sorted({document for query in chosen for document in data.relevant.get(query, ())})
            others = [document for document in data.dev_documents.get(name, []) if document not in set(needed)]
            extra = max(0, params.documents // len(names) - len(needed))
            self.queries[name] = chosen
            self.documents[name] = needed + [others[int(i)] for i in np.sort(draw.permutation(len(others))[:extra])]

    def score(self, encoder: Encoder) -> float:
        """Mean nDCG@10 over tasks, with zero-shot prompts; 0 when no task has dev queries."""
        with torch.random.fork_rng():
            scores = [self._task(encoder, name) for name in self.queries]
        return float(np.mean(scores)) if scores else 0.0

    def _task(self, encoder: Encoder, name: str) -> float:
        task, data = self.data.tasks[name], self.data
        texts = [data.document_text[document] for document in self.documents[name]]
        queries = encoder.encode_queries([data.query_text[q] for q in self.queries[name]], task.instruction)
        documents = (
            encoder.encode_queries(texts, task.instruction) if task.symmetric else encoder.encode_documents(texts)
        )
        return float(ndcg_at_10(queries @ documents.T, self._relevant(name)).mean())

    def _relevant(self, name: str) -> np.ndarray:
        """bool [queries, documents] of the task's sample."""
        column = {document: j for j, document in enumerate(self.documents[name])}
        relevant = np.zeros((len(self.queries[name]), len(column)), dtype=bool)
        for i, query in enumerate(self.queries[name]):
            relevant[i, [column[document] for document in self.data.relevant.get(query, ())]] = True
        return relevant
