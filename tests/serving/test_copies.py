"""`foundry export folder` and `st5`: the trained model with its chosen shots, and one that version 5 takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import foundry
from tests.model.test_export import documented

TEXTS = ["is the sky blue", "the sea is blue, " * 40]


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout, whose register stage has written prompts with a shot."""
    monkeypatch.chdir(checkout)
    settings = "config_sentence_transformers.json"
    about = json.loads((checkout / "outputs" / "train" / "export" / settings).read_text())
    about.pop("shots_from")
    about["prompts"]["boolq"] = f"<instruct>Do it.\n<query>a\n<response>b\n\n{about['prompts']['boolq']}"
    (checkout / "outputs" / "register").mkdir()
    (checkout / "outputs" / "register" / settings).write_text(json.dumps(about))
    return checkout


def test_the_folder_has_the_chosen_shots(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sentence_transformers import SentenceTransformer

    assert foundry("export", "folder", "made") == 0
    assert capsys.readouterr().out == f"{here / 'made'}\n"
    model = SentenceTransformer(str(here / "made"), device="cpu")
    assert model.prompts["boolq"].startswith("<instruct>Do it.\n<query>a\n<response>b\n\n")
    plain = SentenceTransformer(str(here / "outputs" / "train" / "export"), device="cpu")
    assert np.abs(model.encode_query(TEXTS, prompt_name="boolq") - plain.encode_query(TEXTS)).max() > 0.01
    assert foundry("export", "folder", "made") == 1
    assert capsys.readouterr().err.endswith(f"error: {here / 'made'}: exists; name a new folder\n")
    assert not (here / "made.draft").exists()


def test_version_5_s_folder_has_one_length_and_names_the_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sentence_transformers import SentenceTransformer

    assert foundry("export", "st5", "made") == 0
    length = json.loads((here / "outputs/train/export/sentence_bert_config.json").read_text())["document_length"]
    assert capsys.readouterr().out.splitlines()[1] == f"before documents are encoded: model.max_seq_length = {length}"
    assert "document_length" not in json.loads((here / "made" / "sentence_bert_config.json").read_text())
    found = documented("sentence-transformers 5", folder=str(here / "made"), texts=TEXTS, task="boolq")
    model = SentenceTransformer(str(here / "outputs" / "train" / "export"), device="cpu")
    prompt = json.loads((here / "made" / "config_sentence_transformers.json").read_text())["prompts"]["boolq"]
    np.testing.assert_allclose(found["queries"], model.encode_query(TEXTS, prompt=prompt), atol=1e-5)
    np.testing.assert_allclose(found["documents"], model.encode_document(TEXTS), atol=1e-5)
