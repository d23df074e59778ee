"""What the served model accepts: texts and known parameters; everything else is an error that names its place."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from components.tracking.embedder import Embedder


class Model:
    """Says which way a text was put."""

    prompts = {"boolq": "p", "document": "", "query": "", "sts": "s", "sts:document": "s"}  # noqa: RUF012

    def encode_document(self, texts: list[str]) -> np.ndarray:
        return np.array([[float(len(text)), 0.0] for text in texts])

    def encode_query(self, texts: list[str], prompt_name: str) -> np.ndarray:
        return np.array([[float(len(text)), 1.0 + list(self.prompts).index(prompt_name)] for text in texts])


@pytest.fixture
def served() -> Embedder:
    embedder = Embedder()
    embedder.model = Model()
    return embedder


def frame(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize("given", [["a", "bb"], frame(text=["a", "bb"]), np.array(["a", "bb"])])
def test_texts_become_vectors_of_the_side_asked_for(served: Embedder, given: Any) -> None:
    assert served.predict(None, given) == [[1, 0], [2, 0]]
    assert served.predict(None, given, {"side": "query", "task": "boolq"}) == [[1, 1], [2, 1]]


def test_documents_of_a_symmetric_task_are_behind_its_instruction(served: Embedder) -> None:
    assert served.predict(None, ["a"], {"side": "document", "task": "sts"}) == [[1, 5]]
    assert served.predict(None, ["a"], {"side": "document", "task": "boolq"}) == [[1, 0]]


def test_the_only_task_of_a_model_need_not_be_named(served: Embedder) -> None:
    served.model.prompts = {"boolq": "p", "query": "p", "document": ""}
    assert served.predict(None, ["a"], {"side": "query"}) == [[1, 2]]


@pytest.mark.parametrize(
    ("given", "params", "said"),
    [
        (["a", None], {}, "row 1: None is NoneType, not a text"),
        (["a", float("nan")], {}, "row 1: nan is float"),
        (frame(text=["a", None, "c"]), {}, "row 1: .* not a text"),
        (frame(id=[7], text=["a"]), {}, "columns: id, text; send one column"),
        ([b"abc"], {}, r"row 0: b'abc' is bytes"),
        ([7], {}, "row 0: 7 is int"),
        (["a"], {"task": "boolq"}, "task: 'boolq' is given without side"),
        (["a"], {"side": "query"}, "task: ''; must be one of boolq, sts$"),
        (["a"], {"side": "query", "task": "document"}, "task: 'document'; must be one of boolq, sts$"),
        (["a"], {"side": "query", "task": "query"}, "must be one of boolq, sts$"),
        (["a"], {"side": "query", "task": "sts:document"}, "must be one of boolq, sts$"),
        (["a"], {"side": "passage"}, "side: 'passage'; must be 'query' or 'document'"),
        (["a"], {"sied": "query"}, "params: 'sied' is unknown; there are side and task"),
    ],
)
def test_what_is_no_text_or_not_known_is_refused(
    served: Embedder, given: Any, params: dict[str, str], said: str
) -> None:
    with pytest.raises(MlflowException, match=said) as raised:
        served.predict(None, given, params)
    assert raised.value.get_http_status_code() == 400
