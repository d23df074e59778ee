"""Soft labels: a dense teacher's query-document cosines of a batch, from vectors saved by stage `retrieve`."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from components.base.errors import UserError
from components.data.inputs import read_inputs


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
