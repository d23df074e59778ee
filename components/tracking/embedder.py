"""The registered model as MLflow runs it: models-from-code, so no pickle; no import of this repository.

    model.predict(["a passage"])                                                documents
    model.predict(["a question"], params={"side": "query", "task": "boolq"})    queries, behind the task's prompt

The artifact is a plain sentence-transformers folder; its prompts carry each task's instruction and chosen shots.
"""

from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel


class Embedder(PythonModel):
    """Texts in, L2-normalised vectors out."""

    def load_context(self, context: Any) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(context.artifacts["model"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow takes hints for a signature
        """list[str] (or a table with one column) -> list of float vectors.

        Raises:
            ValueError: an unknown side, or a task the model has no prompt for.
        """
        texts = [str(text) for text in (model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input)]
        side, task = (params or {}).get("side", "document"), (params or {}).get("task", "")
        if side == "document":
            vectors = self.model.encode_document(texts)
        elif side != "query":
            raise ValueError(f"side: {side!r}; must be 'document' or 'query'")
        elif task not in self.model.prompts:
            raise ValueError(f"task: {task!r}; must be one of {', '.join(sorted(self.model.prompts))}")
        else:
            vectors = self.model.encode_query(texts, prompt_name=task)
        return [[float(value) for value in vector] for vector in vectors]


mlflow.models.set_model(Embedder())
