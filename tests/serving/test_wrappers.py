"""LangChain and LlamaIndex as docs/serving.md says: the evaluated vectors, over the limits too.

They come with the extra `clients`, which no other test needs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.model.test_export import DOCUMENTS, MARKED, QUERIES, SHOTS, TASK, export_of
from tests.serving_page import documented

TEXTS = [*QUERIES, *DOCUMENTS, *MARKED, "two\nlines", "the sea is blue, " * 40, "x" * 3000, "sky " * 124, ""]
CURE = "pip install -c constraints.txt -e .[clients]"


@pytest.fixture(scope="module", params=["special", "plain"])
def exported(request: pytest.FixtureRequest, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export_of(tiny_student, request.param, tmp_path_factory.mktemp("wrappers"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "package", "read_as"),
    [
        ("langchain", "langchain_core", str),
        ("langchain-huggingface", "langchain_huggingface", lambda text: text.replace("\n", " ")),
        ("llama-index", "llama_index.embeddings.huggingface", str),
    ],
)
def test_wrappers_give_the_evaluated_vectors(exported: Any, block: str, package: str, read_as: Any) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed: {CURE}")
    encoder, folder, _ = exported
    found = documented(block, folder=str(folder), texts=TEXTS, task="sky")
    read = [read_as(text) for text in TEXTS]
    np.testing.assert_allclose(
        found["queries"], encoder.encode_queries(read, TASK.instruction, SHOTS["sky"]), atol=1e-5
    )
    np.testing.assert_allclose(found["documents"], encoder.encode_documents(read), atol=1e-5)
    assert encoder.prompt.cut >= 3
