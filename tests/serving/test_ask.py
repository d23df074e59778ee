"""`foundry ask` with a tiny trained model: the documents that plain sentence-transformers ranks first."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from components.model.sentence_model import SentenceModel, Side
from components.serving.ask import ask, trained_model
from tests.command import foundry

TEXTS = ["The sky looks blue because of scattering.", "Bread is baked.", "Water is wet.", "a", "Größe 42"]
QUESTION = "is the sky blue"


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout, with held-out documents of its task boolq."""
    monkeypatch.chdir(checkout)
    table = pl.DataFrame({"doc_id": [str(i) for i in range(len(TEXTS))], "text": TEXTS})
    table.write_parquet(checkout / "outputs" / "prepare" / "benchmark" / "boolq.corpus.parquet")
    return checkout


def plain(folder: Path, question: str, prompt: str, texts: list[str]) -> list[tuple[float, str]]:
    """Every text and its similarity, best first, by sentence-transformers alone."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    scores = model.encode_document(texts) @ model.encode_query([question], prompt=prompt)[0]
    return [(float(scores[i]), texts[i]) for i in np.argsort(-scores, kind="stable")]


@pytest.mark.slow
def test_prints_the_best_documents_of_the_first_retrieval_task(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("ask", QUESTION, "--top", "3") == 0
    about, _, hits = capsys.readouterr().out.partition("\n\n")
    assert about.splitlines() == [
        "task    boolq: Given a question, retrieve a passage that answers it",
        "model   outputs/train/export, without shots",
        "corpus  outputs/prepare/benchmark/boolq.corpus.parquet, 5 documents",
    ]
    export = here / "outputs" / "train" / "export"
    best = plain(export, QUESTION, trained_model(here / "outputs").prompts["boolq"], TEXTS)[:3]
    lines = [line.split(maxsplit=2) for line in hits.splitlines()]
    assert [(rank, text) for rank, _, text in lines] == [(str(rank), text) for rank, (_, text) in enumerate(best, 1)]
    assert [float(score) for _, score, _ in lines] == pytest.approx([score for score, _ in best], abs=1e-4)


@pytest.mark.slow
def test_the_register_stage_s_prompts_have_the_shots(here: Path) -> None:
    registered = here / "outputs" / "register"
    prompt = "<instruct>Do it.\n<query>a\n<response>b\n\n<instruct>Do it.\n<query>"
    registered.mkdir()
    (registered / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"boolq": prompt, "document": ""}})
    )
    answer = ask(here, QUESTION, "", None, "", 5)
    assert (answer.instruction, answer.model) == ("Do it.", "outputs/train/export, with the shots of outputs/register")
    expected = plain(here / "outputs" / "train" / "export", QUESTION, prompt, TEXTS)
    np.testing.assert_allclose([score for score, _ in answer.hits], [score for score, _ in expected], atol=1e-5)


@pytest.mark.slow
def test_a_file_of_the_user_s_and_only_new_documents_are_embedded(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded: list[str] = []
    forward = SentenceModel.forward

    def counted(self: SentenceModel, texts: list[str], side: Side, tokens: bool) -> object:
        embedded.extend(() if side.prompt else texts)  # a question is behind the task's prompt
        return forward(self, texts, side, tokens)

    monkeypatch.setattr(SentenceModel, "forward", counted)
    (here / "below").mkdir()
    faq = here / "below" / "faq.txt"
    faq.write_text("one\ntwo\none\n")
    monkeypatch.chdir(here / "below")  # the path is the user's, the checkout is above
    assert foundry("ask", QUESTION, "--corpus", "faq.txt", "--top", "9") == 0
    assert "faq.txt, 3 documents" in capsys.readouterr().out
    assert sorted(embedded) == ["one", "two"], "a text that stands there twice is embedded once"
    faq.write_text("one\ntwo\nthree\n")
    assert foundry("ask", "another question", "--corpus", "faq.txt") == 0
    assert embedded[2:] == ["three"]
    assert len(capsys.readouterr().out.partition("\n\n")[2].splitlines()) == 3


@pytest.mark.slow
def test_another_model_never_meets_these_vectors(here: Path) -> None:
    before = ask(here, QUESTION, "", None, "", 5)
    weights = here / "outputs" / "train" / "export" / "model.safetensors"
    tensors = {name: value * 1.5 if "embed" in name else value for name, value in load_file(weights).items()}
    weights.unlink()  # a link to the fixture's
    save_file(tensors, weights, metadata={"format": "pt"})
    after = ask(here, QUESTION, "", None, "", 5)
    expected = plain(weights.parent, QUESTION, trained_model(here / "outputs").prompts["boolq"], TEXTS)
    assert before.hits != after.hits
    np.testing.assert_allclose([score for score, _ in after.hits], [score for score, _ in expected], atol=1e-5)


def test_before_training_it_says_make_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(here / "outputs" / "train" / "export")
    assert foundry("ask", QUESTION) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {here}/outputs/train/export: no trained model here yet; make one: make run")
    assert said.count("\n") == 1


def test_an_unknown_task_is_told_with_those_there_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("ask", QUESTION, "--task", "moon") == 1
    assert capsys.readouterr().err == "error: --task moon: unknown; the model knows boolq\n"


def test_an_unknown_version_is_told(
    here: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    assert foundry("ask", QUESTION, "--version", "7") == 1
    assert capsys.readouterr().err.endswith("has no version or alias '7'; versions: none\n")
