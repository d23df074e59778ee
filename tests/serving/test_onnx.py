"""`foundry export onnx`, run by ONNX Runtime and transformers.js as docs/serving.md says: the evaluated vectors."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.serving.ask import Model
from components.serving.onnx import export_onnx
from tests.model.test_export import DOCUMENTS, MARKED, QUERIES, SHOTS, TASK, documented, documented_text, export_of
from tests.samples import ROOT

LONG = ["the sea is blue, " * 40, "x" * 3000, "sky " * 124]
NODE_MODULES = ROOT / "node_modules"


@pytest.fixture(scope="module", params=["special", "plain"])
def exported(request: pytest.FixtureRequest, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(encoder, model, folder that `foundry export onnx` made of it)."""
    encoder, folder, _ = export_of(tiny_student, request.param, tmp_path_factory.mktemp("onnx"))
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())["prompts"]
    model = Model("tiny", folder, prompts)
    file = export_onnx(model, folder.parent / "made" / "onnx")
    assert file == folder.parent / "made" / "onnx" / "onnx" / "model.onnx"
    return encoder, model, file.parents[1]


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


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(
    not (NODE_MODULES / "@huggingface" / "transformers").is_dir(),
    reason="transformers.js is not in node_modules: npm install --no-save --ignore-scripts @huggingface/transformers@4",
)
def test_transformers_js_gives_the_evaluated_vectors(exported: Any) -> None:
    encoder, _, folder = exported
    texts = [*QUERIES, *DOCUMENTS, *MARKED, *LONG, "two\nlines", ""]
    (folder.parent / "node_modules").symlink_to(NODE_MODULES.resolve())
    script = folder.parent / "client.mjs"
    given = f"const folder = {json.dumps(folder.name)}, task = 'sky', texts = {json.dumps(texts)};\n"
    said = "console.log(JSON.stringify({ queries, documents }));\n"
    script.write_text(given + documented_text("js transformers.js") + said, encoding="utf-8")
    ran = subprocess.run(["node", script.name], cwd=script.parent, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
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
