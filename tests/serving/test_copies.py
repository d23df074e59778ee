"""`foundry export folder`: the trained model with its chosen shots."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import foundry

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
