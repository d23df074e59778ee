"""`foundry export onnx`, run by ONNX Runtime and transformers.js as docs/serving.md says: the evaluated vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.serving.ask import Model
from components.serving.onnx import export_onnx
from tests.model.test_export import DOCUMENTS, MARKED, QUERIES, SHOTS, TASK, export_of
from tests.serving_page import documented, documented_in_node, missing_for_node

LONG = ["the sea is blue, " * 40, "x" * 3000, "sky " * 124]


@pytest.fixture(scope="module", params=["special", "plain"])
def exported(request: pytest.FixtureRequest, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(encoder, model, folder that `foundry export onnx` made of it)."""
    encoder, folder, _ = export_of(tiny_student, request.param, tmp_path_factory.mktemp("onnx"))
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    model = Model("tiny", folder, prompts)
    file = export_onnx(model, folder.parent / "made" / "onnx")
    assert file == folder.parent / "made" / "onnx" / "onnx" / "model.onnx"
    return encoder, model, file.parents[1]


@pytest.mark.slow
def test_onnx_runtime_gives_the_evaluated_vectors(exported: Any) -> None:
    encoder, model, folder = exported
    assert not list(folder.glob("*.safetensors"))
    assert str(folder.parent).encode() not in (folder / "onnx" / "model.onnx").read_bytes()
    texts = [*QUERIES, *DOCUMENTS, *MARKED, *LONG, ""]
    found = documented("onnx", folder=str(folder), texts=texts, task="sky")
    expected = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(found["queries"], expected, atol=1e-5)
    np.testing.assert_allclose(found["documents"], encoder.encode_documents(texts), atol=1e-5)
    assert encoder.prompt.cut
    with pytest.raises(UserError, match="onnx: exists; name a new folder"):
        export_onnx(model, folder)


@pytest.mark.skipif(bool(missing_for_node()), reason=missing_for_node())
def test_transformers_js_gives_the_evaluated_vectors(exported: Any) -> None:
    encoder, _, folder = exported
    texts = [*QUERIES, *DOCUMENTS, *MARKED, *LONG, "two\nlines", ""]
    found = documented_in_node(folder, texts, "sky")
    expected = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(found["queries"], expected, atol=1e-5)
    np.testing.assert_allclose(found["documents"], encoder.encode_documents(texts), atol=1e-5)


def test_a_model_that_pools_otherwise_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "1_Pooling").mkdir(parents=True)
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    with pytest.raises(UserError, match="does not pool the last token, so it cannot be exported"):
        export_onnx(Model("tiny", other, {}), tmp_path / "onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["other"]
