"""Dense teachers of the loss: query-document cosines of a batch, from vectors saved by stage `retrieve`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from components.base.errors import UserError
from components.config import TrainParams
from components.data.inputs import read_inputs
from components.training.batches import Batch
from components.training.objectives import DenseScores


class SoftLabels:
    """Vectors by row. Attributes: queries, documents, float32 [n, dim]."""

    def __init__(self, vectors: dict[str, torch.Tensor]) -> None:
        self.queries, self.documents = vectors["queries"].float(), vectors["documents"].float()

    @classmethod
    def load(cls, outputs: Path, teacher: str) -> "SoftLabels":
        """Read outputs/retrieve/vectors/<teacher>.safetensors.

        Raises:
            UserError: the file is missing, or does not match the queries and documents.
        """
        path = outputs / "retrieve" / "vectors" / f"{teacher}.safetensors"
        if not path.is_file():
            raise UserError(f"{path}: missing; add {teacher} to retrieve.keep_vectors and run retrieve again")
        inputs, vectors = read_inputs(outputs / "prepare"), load_file(path)
        for name, frame in (("queries", inputs.queries), ("documents", inputs.corpus)):
            if len(vectors[name]) != frame["row"][-1] + 1:
                raise UserError(f"{path}: number of {name} differs from {outputs / 'prepare'}; run retrieve again")
        return cls(vectors)

    def cosines(self, queries: list[int], documents: list[int]) -> torch.Tensor:
        """float32 [queries, documents]."""
        return self.queries[queries] @ self.documents[documents].T


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

    def of(self, batch: Batch, device: torch.device) -> DenseScores:
        """The cosines that the batch's loss uses: none in a graded batch."""
        if batch.graded:
            return DenseScores()
        ids = [example.query for example in batch.examples], batch.documents
        soft = self.soft.cosines(*ids).to(device) if self.soft and batch.objective.in_batch_distillation else None
        return DenseScores(soft, self.guide.cosines(*ids).to(device) if self.guide else None)
