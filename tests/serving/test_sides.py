"""`foundry export sides`: clients that tokenize strings plainly get the evaluated vectors, over the limits too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UserError
from components.serving.ask import Model
from components.serving.sides import export_sides
from tests.model.decoders import write_decoder
from tests.model.test_export import DOCUMENTS, MARKED, QUERIES, SHOTS, TASK, export_of
from tests.serving_page import documented

LONG = ["the sea is blue, " * 40, "x" * 3000, "sky " * 124]
SETTINGS = "config_sentence_transformers.json"


@pytest.fixture(scope="module", params=["special", "plain"])
def exported(request: pytest.FixtureRequest, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    encoder, folder, _ = export_of(tiny_student, request.param, tmp_path_factory.mktemp("sides"))
    prompts = json.loads((folder / SETTINGS).read_text())["prompts"]
    sides = folder.with_name("sides")
    export_sides(Model("tiny", folder, prompts), sides)
    return encoder, sides


@pytest.mark.slow
def test_strings_alone_give_the_evaluated_vectors(exported: Any) -> None:
    encoder, sides = exported
    texts = [*QUERIES, *DOCUMENTS, *MARKED, *LONG, ""]
    found = documented("sides", folder=str(sides), texts=texts, task="sky")
    expected = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(found["queries"], expected, atol=1e-5)
    np.testing.assert_allclose(found["documents"], encoder.encode_documents(texts), atol=1e-5)
    assert encoder.prompt.cut >= 3


def test_each_side_has_what_every_version_and_server_reads(exported: Any) -> None:
    """No key that sentence-transformers 2 to 5 do not know: they pass each of them to Transformer's constructor."""
    encoder, sides = exported
    params = encoder.prompt.params
    for side, length in (
        ("queries", params.prefix_tokens + params.query_tokens),
        ("documents", params.document_tokens),
    ):
        own = json.loads((sides / side / "sentence_bert_config.json").read_text())
        assert own == {"max_seq_length": length, "do_lower_case": False}
        assert json.loads((sides / side / "tokenizer_config.json").read_text())["model_max_length"] == length
        assert not list((sides / side).glob("*.jinja"))
        pooling = json.loads((sides / side / "1_Pooling" / "config.json").read_text())
        assert pooling["pooling_mode_lasttoken"]
        assert "word_embedding_dimension" in pooling
        assert not {"pooling_mode", "embedding_dimension"} & set(pooling)
    assert list(json.loads((sides / "queries" / SETTINGS).read_text())["prompts"]) == ["sky"]
    assert json.loads((sides / "documents" / SETTINGS).read_text())["prompts"] == {"document": ""}
    weights = [sides / side / "model.safetensors" for side in ("queries", "documents")]
    assert weights[0].samefile(weights[1])


def test_a_tokenizer_that_merges_a_text_with_the_tail_is_refused(tmp_path: Path) -> None:
    _, folder, _ = export_of(write_decoder(tmp_path / "qwen", "qwen3"), "special", tmp_path)
    with pytest.raises(UserError, match=r"merges 'x .*' with the .* after it.*use `foundry serve`"):
        export_sides(Model("tiny", folder, {"sky": "x"}), tmp_path / "sides")
    assert not (tmp_path / "sides").exists()


def test_a_model_that_an_earlier_version_exported_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    (tmp_path / SETTINGS).write_text('{"prompts": {}}')
    with pytest.raises(UserError, match="an earlier version exported it, without query_suffix; use `foundry serve`"):
        export_sides(Model("old", tmp_path, {}), tmp_path / "sides")
