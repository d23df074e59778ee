"""Soft labels: a dense teacher's query-document cosines of a batch, from vectors saved by stage `retrieve`."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from components.base.errors import UserError
from components.data.inputs import read_inputs


class SoftLabels:
    """Vectors by id. Attributes: queries, documents, float32 [n, dim], and the row of each id."""

    def __init__(self, vectors: dict[str, torch.Tensor], query_ids: list[str], doc_ids: list[str]) -> None:
        self.queries, self.documents = vectors["queries"].float(), vectors["documents"].float()
        self._query_row = {query_id: row for row, query_id in enumerate(query_ids)}
        self._document_row = {doc_id: row for row, doc_id in enumerate(doc_ids)}

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
        ids = inputs.queries["query_id"].to_list(), inputs.corpus["doc_id"].to_list()
        if (len(vectors["queries"]), len(vectors["documents"])) != (len(ids[0]), len(ids[1])):
            raise UserError(f"{path}: number of vectors differs from {outputs / 'prepare'}; run retrieve again")
        return cls(vectors, *ids)

    def cosines(self, query_ids: list[str], doc_ids: list[str]) -> torch.Tensor:
        """float32 [queries, documents]."""
        queries = self.queries[[self._query_row[query_id] for query_id in query_ids]]
        return queries @ self.documents[[self._document_row[doc_id] for doc_id in doc_ids]].T
