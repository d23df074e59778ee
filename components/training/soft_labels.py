"""Dense teachers of the loss: query-document cosines of a batch, from vectors saved by stage `retrieve`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from components.base.errors import UserError
from components.config import TrainParams
from components.data.inputs import read_inputs
from components.training.batches import Batch
from components.training.objectives import DenseScores


class Vectors(NamedTuple):
    """A dense teacher's vectors of a batch: float32 [B, dim] and [M, dim]."""

    queries: torch.Tensor
    documents: torch.Tensor

    def cosines(self) -> torch.Tensor:
        """float32 [B, M]."""
        return self.queries @ self.documents.T


class SoftLabels:
    """Vectors by row, in the memory-mapped file that retrieve wrote: float16, only the rows of a batch are read."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        self._queries, self._documents = (self._file.get_tensor(name) for name in ("queries", "documents"))

    @classmethod
    def load(cls, outputs: Path, teacher: str) -> "SoftLabels":
        """Open outputs/retrieve/vectors/<teacher>.safetensors.

        Raises:
            UserError: the file is missing, or does not match the queries and documents.
        """
        path = outputs / "retrieve" / "vectors" / f"{teacher}.safetensors"
        if not path.is_file():
            raise UserError(f"{path}: missing; add {teacher} to retrieve.keep_vectors and run retrieve again")
        inputs, found = read_inputs(outputs / "prepare", texts=False), cls(path)
        sides = {"queries": (inputs.queries, found._queries), "documents": (inputs.corpus, found._documents)}
        for name, (frame, vectors) in sides.items():
            if len(vectors) != frame["row"][-1] + 1:
                raise UserError(f"{path}: number of {name} differs from {outputs / 'prepare'}; run retrieve again")
        return found

    def of(self, batch: Batch) -> Vectors:
        """The vectors of a batch."""
        sides = (self._queries, batch.queries), (self._documents, batch.documents)
        return Vectors(*(vectors[torch.from_numpy(rows.astype(np.int64))].float() for vectors, rows in sides))


class DenseVectors(NamedTuple):
    """The dense teachers' vectors that the loss of a batch uses."""

    soft: Vectors | None = None
    guide: Vectors | None = None

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "DenseVectors":
        """The same vectors in pinned memory, or on another device."""
        return DenseVectors(*(vectors and Vectors(*map(change, vectors)) for vectors in self))

    def scores(self) -> DenseScores:
        """Their cosines."""
        return DenseScores(*(vectors and vectors.cosines() for vectors in self))


@dataclass(frozen=True)
class DenseTeachers:
    """The dense teachers that the loss reads; None where `train` names none."""

    soft: SoftLabels | None = None
    guide: SoftLabels | None = None

    @classmethod
    def load(cls, outputs: Path, params: TrainParams) -> "DenseTeachers":
        """Those of `train.distillation.in_batch` and `train.guide`. Raises UserError when vectors are missing."""
        in_batch = params.distillation.in_batch
        wanted = (in_batch.teacher if in_batch and in_batch.weight else None, params.guide and params.guide.teacher)
        loaded = {name: SoftLabels.load(outputs, name) for name in {*wanted} if name}
        return cls(*(loaded.get(name or "") for name in wanted))

    def of(self, batch: Batch) -> DenseVectors:
        """The vectors that the batch's loss uses: none in a graded batch."""
        if batch.graded:
            return DenseVectors()
        soft = self.soft.of(batch) if self.soft and batch.objective.in_batch_distillation else None
        return DenseVectors(soft, self.guide.of(batch) if self.guide else None)
