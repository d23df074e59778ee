"""The sentence model: the library's vectors, whatever stands beside a text, and never the other side's vector."""

from multiprocessing import Pipe
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.model import sentence_model
from components.model.sentence_model import PLAIN, SentenceModel, SentenceSource, Side
from components.model.stored_embedder import MissingVectorError
from tests.teacher.conftest import make_dense_teacher

TEXTS = [f"text {i} " + "long " * (i % 17) for i in range(60)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dense_teacher(tmp_path_factory.mktemp("model") / "dense")


@pytest.fixture(scope="module")
def model(folder: Path) -> SentenceModel:
    return SentenceModel.load(folder, CPU)


def changed(folder: Path, to: Path, change: Any) -> Path:
    """A copy of the model, saved after `change` of the library's object."""
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    change(library)
    library.save_pretrained(str(to))
    return to


def set_prompts(library: Any) -> None:
    library.prompts = {"query": "query: ", "passage": "passage: "}


def set_lengths(library: Any) -> None:
    library[0].query_length, library[0].document_length = 8, 40


def test_same_vectors_as_the_library(model: SentenceModel) -> None:
    vectors, matrices = model.forward(TEXTS, PLAIN, tokens=True)
    np.testing.assert_allclose(vectors, model.model.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    hidden = model.model.encode(TEXTS[3], output_value="token_embeddings").numpy()[1:-1]  # without [CLS], [SEP]
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    np.testing.assert_allclose(matrices[3], hidden, atol=1e-3)


def leave_prompts_out(library: Any) -> None:
    set_prompts(library)
    library[1].include_prompt = False


def set_default_prompt(library: Any) -> None:
    library.prompts, library.default_prompt_name = {"other": "other: "}, "other"


def truncate(library: Any) -> None:
    library.truncate_dim = 8


@pytest.mark.parametrize("change", [set_prompts, set_lengths, leave_prompts_out, set_default_prompt, truncate])
def test_queries_and_documents_are_put_as_the_library_puts_them(folder: Path, tmp_path: Path, change: Any) -> None:
    model = SentenceModel.load(changed(folder, tmp_path / "changed", change), CPU)
    library = model.model
    queries, documents = model.encode_queries(TEXTS, "ignored"), model.encode_documents(TEXTS)
    np.testing.assert_allclose(queries, library.encode_query(TEXTS, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(documents, library.encode_document(TEXTS, normalize_embeddings=True), atol=1e-5)
    for ids, kind in ((model.prompt.query_ids(TEXTS), "query"), (model.prompt.document_ids(TEXTS), "document")):
        prompt = getattr(model, kind).prompt or None
        expected = library.preprocess(TEXTS, prompt=prompt, task=kind)["attention_mask"].sum(dim=1).tolist()
        assert [len(sequence) for sequence in ids] == expected


def test_a_vector_depends_on_no_neighbour_and_no_number_of_threads(model: SentenceModel) -> None:
    together = model.encode(TEXTS, PLAIN)
    for i in (0, 16, 59):
        assert model.encode([TEXTS[i]], PLAIN).tobytes() == together[i].tobytes()
    torch.set_num_threads(3)
    assert model.encode(TEXTS, PLAIN).tobytes() == together.tobytes()
    assert torch.get_num_threads() == 3


def test_texts_are_cut_to_max_tokens(folder: Path, model: SentenceModel) -> None:
    short = SentenceModel.load(folder, CPU, max_tokens=10)
    a, b = short.encode(["abcdefgh then one end", "abcdefgh then another"], PLAIN)
    np.testing.assert_array_equal(a, b)
    assert short.identity != model.identity
    assert SentenceModel.load(folder, CPU, max_tokens=1000).identity == model.identity  # its own limit is 96


def test_the_identity_follows_the_dtype(folder: Path, tmp_path: Path, model: SentenceModel) -> None:
    half = SentenceModel.load(changed(folder, tmp_path / "half", lambda library: library.bfloat16()), CPU)
    assert half.identity != model.identity
    np.testing.assert_allclose(half.encode(TEXTS, PLAIN), model.encode(TEXTS, PLAIN), atol=5e-2)


@pytest.mark.parametrize("first", ["query", "document"])
def test_a_query_is_never_answered_with_a_document_s_vector(folder: Path, tmp_path: Path, first: str) -> None:
    own = changed(folder, tmp_path / "sided", set_lengths)
    fresh, stored = SentenceModel.load(own, CPU), SentenceModel.load(own, CPU, store=tmp_path / "store")
    sides = ("query", "document") if first == "query" else ("document", "query")
    for kind in sides:
        side = getattr(fresh, kind)
        assert side == Side("", kind)
        np.testing.assert_array_equal(stored.encode(TEXTS, side), fresh.encode(TEXTS, side))
    assert np.abs(fresh.encode_queries(TEXTS, "") - fresh.encode_documents(TEXTS)).max() > 0.01


def test_a_text_is_embedded_once_where_the_model_puts_both_sides_alike(folder: Path, tmp_path: Path) -> None:
    model = SentenceModel.load(folder, CPU, store=tmp_path)
    queries = model.encode_queries(TEXTS, "")
    spent = model.tokens
    assert spent == sum(map(len, model.prompt.query_ids(list(dict.fromkeys(TEXTS)))))
    np.testing.assert_array_equal(model.encode_documents([*TEXTS, *TEXTS[:5]])[: len(TEXTS)], queries)
    assert model.tokens == spent


def test_a_reader_travels_without_weights_and_never_makes_a_vector_up(folder: Path, tmp_path: Path) -> None:
    model = SentenceModel.load(folder, CPU, store=tmp_path)
    expected = model.encode_documents(TEXTS)
    assert len(ForkingPickler.dumps(model.reader())) < 5000
    here, there = Pipe()
    here.send(model.reader())
    reader = there.recv()
    np.testing.assert_array_equal(reader.encode_documents(TEXTS), expected)
    with pytest.raises(MissingVectorError, match="1 of 61"):
        reader.encode_documents([*TEXTS, "never embedded"])


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no model here"):
        SentenceModel.load(tmp_path / "nowhere", CPU)


def test_a_model_that_starts_with_no_transformer_is_named(folder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    static.save_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="starts with StaticEmbedding, not a transformer"):
        SentenceModel.load(tmp_path, CPU)


def test_half_precision_is_the_models_own_on_cuda_and_in_its_identity(folder: Path, tmp_path: Path) -> None:
    half = changed(folder, tmp_path / "half", lambda library: library.bfloat16())
    plain, own = SentenceModel.load(half, CPU), SentenceModel.load(half, CPU, own_precision=True)
    assert [next(model.model.parameters()).dtype for model in (plain, own)] == [torch.float32, torch.bfloat16]
    assert plain.identity != own.identity
    vectors = [model.encode(TEXTS[:3], PLAIN) for model in (plain, own)]
    assert vectors[1].dtype == np.float32
    np.testing.assert_allclose(*vectors, atol=0.05)
    full = [SentenceModel.load(folder, CPU, own_precision=one).identity for one in (False, True)]
    assert full[0] == full[1]  # a model in float32 is the same either way


def test_a_source_keeps_the_precision_of_the_process_that_made_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = changed(folder, tmp_path / "half", lambda library: library.bfloat16())
    assert not SentenceSource(half, tmp_path).own_precision
    with monkeypatch.context() as patch:
        patch.setattr(sentence_model, "device_of", lambda wanted: torch.device("cuda"))
        source = SentenceSource(half, tmp_path)
    sent = ForkingPickler.loads(ForkingPickler.dumps(source))  # to a worker on a CPU
    assert sent == source
    assert next(sent.load().model.parameters()).dtype == torch.bfloat16
