"""Our own export as a dense teacher: the vectors of the encoder it was exported from, prompts of its tasks included."""

from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UserError
from components.config import DenseTeacherParams, EngineParams, parse_config
from components.contracts.tasks import Task
from components.contracts.texts import Texts, write_texts
from components.model.backbone import load_tokenizer
from components.model.encoder import Encoder
from components.model.export import export_model
from components.model.sentence_model import Side
from components.teacher.dense import EmbeddedTexts, Rows
from components.training.train import add_adapter, save_adapter
from tests.models import randomise_adapter
from tests.samples import small_parameters

TASK = Task("sky", "retrieval", "Find it.", symmetric=False, weight=1.0, licence="none", source="test")
QUERIES = ["is the sky blue", 'Größe 42 "quoted"']
DOCUMENTS = ["The sky is blue because of scattering, and so is the sea. " * 6, "short"]  # the first one is cut


@pytest.fixture(scope="module")
def own(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    """An encoder, and the folder of models that holds its export as `own`."""
    folder = tmp_path_factory.mktemp("own")
    config = parse_config(small_parameters(), "test")
    model = add_adapter(tiny_student, load_tokenizer(tiny_student, config.prompt), config)
    randomise_adapter(model.parameters())
    save_adapter(model, folder / "adapter")
    export_model(tiny_student, folder / "adapter", folder / "own", config, [TASK])
    return Encoder.load(tiny_student, config.prompt, config.encoder, folder / "adapter"), folder


def embedded(folder: Path, cache: Path) -> EmbeddedTexts:
    return EmbeddedTexts(folder, "own", DenseTeacherParams(task_prompts=True), cache)


def vectors(teacher: EmbeddedTexts, side: Side, texts: list[str]) -> np.ndarray:
    write_texts(texts, teacher.store / "texts.arrow")
    rows = Rows(side, Texts(teacher.store / "texts.arrow"), np.arange(len(texts)))
    teacher.fill([rows], "test", EngineParams(shard=2), threads=1)
    return teacher.all(rows)


@pytest.mark.slow
def test_queries_and_documents_are_embedded_as_the_encoder_embeds_them(
    own: tuple[Encoder, Path], tmp_path: Path
) -> None:
    encoder, folder = own
    teacher = embedded(folder, tmp_path)
    query, document = teacher.sides("sky", symmetric=False)
    np.testing.assert_allclose(
        vectors(teacher, query, QUERIES), encoder.encode_queries(QUERIES, TASK.instruction), atol=1e-5
    )
    np.testing.assert_allclose(vectors(teacher, document, DOCUMENTS), encoder.encode_documents(DOCUMENTS), atol=1e-5)


@pytest.mark.slow
def test_a_symmetric_task_puts_its_prompt_before_both_sides(own: tuple[Encoder, Path], tmp_path: Path) -> None:
    query, document = embedded(own[1], tmp_path).sides("sky", symmetric=True)
    assert query == document
    assert "Find it." in query.prompt


@pytest.mark.slow
def test_a_task_without_a_prompt_is_named(own: tuple[Encoder, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"retrieve\.dense\.own\.task_prompts: .* no prompt for task 'sea'.*sky"):
        embedded(own[1], tmp_path).sides("sea", symmetric=False)


def test_two_sources_of_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="remove query_prompt"):
        DenseTeacherParams(task_prompts=True, query_prompt="query: ")
