"""The registered model as MLflow runs it: models-from-code, so no pickle; no import of this repository.

    model.predict(["a passage"])                                                documents
    model.predict(["a question"], params={"side": "query", "task": "boolq"})    queries, behind the task's prompt
    model.predict(["a text"], params={"side": "document", "task": "sts"})       documents of a symmetric task

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
        texts, prompt = texts_of(model_input), prompt_of(self.model.prompts, params or {})
        vectors = self.model.encode_query(texts, prompt_name=prompt) if prompt else self.model.encode_document(texts)
        return [[float(value) for value in vector] for vector in vectors]


def tasks_of(prompts: Any) -> list[str]:
    """The tasks that a model has a prompt for, in alphabetical order."""
    return sorted(name for name in prompts if name not in ("query", "document") and not name.endswith(":document"))


def prompt_of(prompts: Any, params: Any) -> str:
    """The name of the prompt that `side` and `task` ask for; empty for documents without a prompt.

    A symmetric task has its instruction before its documents too, under the name TASK:document. The only task of a
    model stands under the name query.

    Raises:
        MlflowException: an unknown parameter, side or task, or a task without a side.
    """
    unknown = sorted(set(params) - set(PARAMETERS))
    if unknown:
        raise request_error(f"params: {unknown[0]!r} is unknown; there are {' and '.join(PARAMETERS)}")
    side, task, tasks = params.get("side") or "", params.get("task") or "", tasks_of(prompts)
    if side not in ("", "query", "document"):
        raise request_error(f"side: {side!r}; must be 'query' or 'document'")
    if task and not side:
        raise request_error(f"task: {task!r} is given without side; add side: 'query' or side: 'document'")
    if side == "query" and not task and prompts.get("query"):
        return "query"
    if (task or side == "query") and task not in tasks:
        raise request_error(f"task: {task!r}; must be one of {', '.join(tasks)}")
    if side == "query":
        return str(task)
    return f"{task}:document" if f"{task}:document" in prompts else ""


def texts_of(given: Any) -> list[str]:
    """The texts of a request: a list, or a table with one column. Raises MlflowException naming the row."""
    if hasattr(given, "columns"):
        if len(given.columns) != 1:
            raise request_error(f"columns: {', '.join(map(str, given.columns))}; send one column of texts")
        given = given.iloc[:, 0]
    texts = list(given)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise request_error(f"row {row}: {text!r} is {type(text).__name__}, not a text; leave it out or correct it")
    return texts


def request_error(problem: str) -> MlflowException:
    """The error that MLflow's server answers with status 400."""
    return MlflowException(problem, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(Embedder())
