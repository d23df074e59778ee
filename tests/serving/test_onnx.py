"""`foundry export onnx`, run by ONNX Runtime as docs/serving.md says: the evaluated vectors, over the limits too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.serving.ask import Model
from components.serving.onnx import export_onnx
from tests.model.test_export import DOCUMENTS, MARKED, QUERIES, SHOTS, TASK, documented, export_of

LONG = ["the sea is blue, " * 40, "x" * 3000, "sky " * 124]


@pytest.fixture(scope="module", params=["special", "plain"])
def exported(request: pytest.FixtureRequest, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export_of(tiny_student, request.param, tmp_path_factory.mktemp("onnx"))


def test_onnx_runtime_gives_the_evaluated_vectors(exported: Any, tmp_path: Path) -> None:
    encoder, folder, _ = exported
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    file = export_onnx(Model("tiny", folder, prompts), tmp_path / "made" / "onnx")
    assert file == tmp_path / "made" / "onnx" / "onnx" / "model.onnx"
    assert not list(file.parents[1].glob("*.safetensors"))
    assert str(tmp_path).encode() not in file.read_bytes()
    texts = [*QUERIES, *DOCUMENTS, *MARKED, *LONG, ""]
    found = documented("onnx", folder=str(file.parents[1]), texts=texts, task="sky")
    expected = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(found["queries"], expected, atol=1e-5)
    np.testing.assert_allclose(found["documents"], encoder.encode_documents(texts), atol=1e-5)
    assert encoder.prompt.cut
    with pytest.raises(UserError, match="onnx: exists; name a new folder"):
        export_onnx(Model("tiny", folder, prompts), tmp_path / "made" / "onnx")


def test_a_model_that_pools_otherwise_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "1_Pooling").mkdir(parents=True)
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    with pytest.raises(UserError, match="does not pool the last token, so it cannot be exported"):
        export_onnx(Model("tiny", other, {}), tmp_path / "onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["other"]
