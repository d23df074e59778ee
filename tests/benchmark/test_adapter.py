"""The adapter puts the right prompt on the right side; its revision changes with whatever decides a score."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mteb.models import EncoderProtocol, SearchProtocol
from mteb.types import PromptType

from components.base.errors import UserError
from components.benchmark.adapter import FoundryModel
from components.config import EncoderParams, PromptParams
from components.contracts.shots import TaskPrompt
from components.model.encoder import Encoder
from components.model.prompt import Shot
from tests.evaluation.fakes import HashEncoder

SHOT = Shot("who wrote it?", "a poet")
PROMPT = TaskPrompt("Find it", shots=(SHOT,))


def about(name: str = "Task", kind: str = "Retrieval") -> Any:
    return SimpleNamespace(name=name, type=kind)


def model(prompt: TaskPrompt = PROMPT, seed: int = 0, **settings: Any) -> FoundryModel:
    return FoundryModel("m", HashEncoder(seed), {"Task": prompt}, settings)


class SpyEncoder(Encoder):
    """The real encoder, remembering the ids it would put through the model."""

    seen: list[list[int]]

    def _embed(self, inputs: list[list[int]], way: Any) -> np.ndarray:
        self.seen = [[*way.prefix, *ids] for ids in inputs]
        return super()._embed(inputs, way)


def encoded(tiny_student: Path, prompt: TaskPrompt, texts: Sequence[str], side: PromptType | None) -> list[str]:
    """The texts as the model reads them, bos and eos checked and taken off."""
    params = PromptParams(template="plain", query_tokens=20)
    encoder = SpyEncoder.load(tiny_student, params, EncoderParams())
    assert isinstance(encoder, SpyEncoder)
    FoundryModel("m", encoder, {"Task": prompt}, {}).embed(texts, about(), side)
    tokenizer = encoder.prompt.tokenizer
    for ids in encoder.seen:
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.bos_token_id not in ids[1:]
        assert tokenizer.eos_token_id not in ids[:-1]
    return [tokenizer.decode(ids[1:-1]) for ids in encoder.seen]


def test_query_ids_are_shots_instruction_text(tiny_student: Path) -> None:
    shown = "Instruct: Find it\nQuery: who wrote it?\nResponse: a poet\n\nInstruct: Find it\nQuery: my text\nResponse:"
    assert encoded(tiny_student, PROMPT, ["my text"], PromptType.query) == [shown]
    assert encoded(tiny_student, PROMPT, ["my text"], None) == [shown]


def test_document_ids_are_the_text_alone(tiny_student: Path) -> None:
    assert encoded(tiny_student, PROMPT, ["my text"], PromptType.document) == ["my text"]


def test_document_of_a_symmetric_task_has_the_instruction_and_no_shots(tiny_student: Path) -> None:
    prompt = TaskPrompt("Find it", symmetric=True, shots=(SHOT,))
    shown = encoded(tiny_student, prompt, ["my text"], PromptType.document)
    assert shown == ["Instruct: Find it\nQuery: my text\nResponse:"]


def test_truncation_keeps_bos_and_eos(tiny_student: Path) -> None:
    (shown,) = encoded(tiny_student, PROMPT, ["long " * 500], PromptType.query)
    assert shown.endswith("\nResponse:")
    assert len(shown) == 1536 + 20 - 2  # a character is a token: the limits of prefix and query, without bos and eos


def test_task_without_an_instruction_is_refused() -> None:
    with pytest.raises(UserError, match="no instruction for task Other"):
        model().embed(["a"], about("Other"), None)


@pytest.mark.parametrize(
    "other",
    [
        model(seed=1),
        model(TaskPrompt("Find them", shots=(SHOT,))),
        model(TaskPrompt("Find it")),
        model(TaskPrompt("Find it", symmetric=True, shots=(SHOT,))),
        model(query_tokens=512),
    ],
    ids=["weights", "instruction", "shots", "symmetry", "lengths"],
)
def test_revision_changes_with_whatever_decides_a_vector(other: FoundryModel) -> None:
    assert other.revision != model().revision
    assert other.mteb_model_meta.revision == other.revision


def test_revision_is_the_same_for_the_same_model() -> None:
    assert model().revision == model().revision


def test_mteb_takes_it_for_an_encoder_and_a_search_engine() -> None:
    assert isinstance(model(), EncoderProtocol)
    assert isinstance(model(), SearchProtocol)
