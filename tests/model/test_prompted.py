"""Queries without the name of a prompt, in a model of several tasks: who warns of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from components.contracts.shots import TaskPrompt
from components.model.export import set_prompts
from components.model.prompted import PromptedTransformer
from tests.model.test_export import QUERIES, TASK, export_of


@pytest.fixture
def exported(tiny_student: Path, tmp_path: Path) -> Any:
    return export_of(tiny_student, "special", tmp_path)


def test_queries_without_a_prompt_s_name_are_warned_of_where_there_are_several_tasks(
    exported: Any, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, folder, _ = exported
    tasks = {name: TaskPrompt(TASK.instruction) for name in ("sky", "sea")}
    set_prompts(folder, encoder.prompt, tasks)
    model = PromptedTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(model.encode_query(QUERIES), model.encode_document(QUERIES), atol=1e-5)
    said = "encode_query without prompt_name embeds queries as documents; name one of sky, sea"
    assert [record.getMessage() for record in caplog.records if "encode_query" in record.getMessage()] == [said]
    model.encode_query(QUERIES, prompt_name="sky")
    set_prompts(folder, encoder.prompt, tasks, only="sky")
    PromptedTransformer(str(folder), device="cpu").encode_query(QUERIES)
    assert sum("encode_query" in record.getMessage() for record in caplog.records) == 1


def test_plain_sentence_transformers_warns_that_unnamed_texts_are_documents(
    exported: Any, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, folder, _ = exported
    tasks = {name: TaskPrompt(TASK.instruction) for name in ("sky", "sea")}
    for only, expected in (("sky", []), (None, ["Default prompt name is set to 'document'."])):
        set_prompts(folder, encoder.prompt, tasks, only)
        logging.warning_once.cache_clear()
        caplog.clear()
        model = SentenceTransformer(str(folder), device="cpu")
        said = [record.getMessage() for record in caplog.records if "efault prompt" in record.getMessage()]
        assert [message.partition(" This ")[0] for message in said] == expected
    np.testing.assert_allclose(model.encode(QUERIES), encoder.encode_documents(QUERIES), atol=1e-5)
    np.testing.assert_allclose(model.encode_query(QUERIES), encoder.encode_documents(QUERIES), atol=1e-5)
