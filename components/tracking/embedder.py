"""The registered model as MLflow runs it: models-from-code, so no pickle; no import of this repository.

    model.predict(["a passage"])                                                documents
    model.predict(["a question"], params={"side": "query", "task": "boolq"})    queries, behind the task's prompt

The artifact is a plain sentence-transformers folder; its prompts carry each task's instruction and chosen shots.
A request that is not texts, or that names a task or side the model does not have, is an error (400 of MLflow's server).
"""

from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

PARAMETERS = ("side", "task")


class Embedder(PythonModel):
    """Texts in, L2-normalised vectors out."""

    def load_context(self, context: Any) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(context.artifacts["model"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow takes hints for a signature
        """list[str] (or a table with one column) -> list of float vectors.

        Raises:
            MlflowException: not texts, several columns, an unknown parameter, side or task, or a task without a side.
        """
        texts = texts_of(model_input)
        side, task = self._way(params or {})
        if side == "document":
            vectors = self.model.encode_document(texts)
        else:
            vectors = self.model.encode_query(texts, prompt_name=task)
        return [[float(value) for value in vector] for vector in vectors]

    def _way(self, params: dict[str, Any]) -> tuple[str, str]:
        """(side, task); the task is empty for documents."""
        unknown = sorted(set(params) - set(PARAMETERS))
        side, task = params.get("side") or "document", params.get("task") or ""
        tasks = sorted(name for name in self.model.prompts if name not in ("query", "document"))
        if unknown:
            raise refused(f"params: {unknown[0]!r} is unknown; there are {' and '.join(PARAMETERS)}")
        if side not in ("query", "document"):
            raise refused(f"side: {side!r}; must be 'query' or 'document'")
        if side == "document" and task:
            raise refused(f"task: {task!r} is given without side: 'query'; documents are embedded without a task")
        if side == "query" and task not in tasks:
            raise refused(f"task: {task!r}; must be one of {', '.join(tasks)}")
        return side, task


def texts_of(given: Any) -> list[str]:
    """The texts of a request: a list, or a table with one column. Raises MlflowException naming the row."""
    if hasattr(given, "columns"):
        if len(given.columns) != 1:
            raise refused(f"columns: {', '.join(map(str, given.columns))}; send one column of texts")
        given = given.iloc[:, 0]
    texts = list(given)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise refused(f"row {row}: {text!r} is {type(text).__name__}, not a text; leave it out or correct it")
    return texts


def refused(problem: str) -> MlflowException:
    """The error that MLflow's server answers with status 400."""
    return MlflowException(problem, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(Embedder())
