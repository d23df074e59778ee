"""The stage: what it writes, and what it has let go of before it exports."""

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config import parse_config
from components.model.backbone import load_tokenizer
from components.stage.context import StageContext
from components.training import train
from tests.hub import REVISION
from tests.samples import only_collected_when_asked, small_parameters


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "4bit"])
def test_the_trained_model_is_gone_before_the_export(
    quantization: str, training_tables: Path, tiny_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(training_tables, outputs)
    shutil.copytree(tiny_student, outputs / "fetch" / "models" / "student")
    trained: list[weakref.ref[Any]] = []
    alive: list[int] = []
    adapted = train.add_adapter

    def noted(*arguments: Any) -> Any:
        model = adapted(*arguments)
        trained.extend(map(weakref.ref, model.parameters()))
        return model

    def export(student: Path, adapter: Path, *rest: Any) -> None:
        assert (adapter / "adapter_model.safetensors").is_file()
        alive.append(sum(parameter() is not None for parameter in trained))

    monkeypatch.setattr(train, "add_adapter", noted)
    monkeypatch.setattr("components.model.export.export_model", export)
    folders = {part: tmp_path / part for part in ("out", "work", "cache")}
    for folder in folders.values():
        folder.mkdir()
    config = parse_config(small_parameters(**{"train.steps": 2, "train.quantization": quantization}), "test")
    with only_collected_when_asked():
        summary = train.run(StageContext(config=config, outputs=outputs, log=lambda metrics, step: None, **folders))
    assert trained
    assert alive == [0]
    assert summary["train.steps"] == 2
    assert pl.read_parquet(folders["out"] / "curve.parquet")["step"].to_list() == [0, 1]


def test_the_adapter_names_its_true_base_and_revision(tiny_student: Path, tmp_path: Path) -> None:
    config = parse_config(small_parameters(), "test")
    model = train.add_adapter(tiny_student, load_tokenizer(tiny_student, config.prompt), config)
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    pointer = {"repo": "some/model", "revision": REVISION, "files": []}
    (fetched / "hub.json").write_text(json.dumps(pointer), encoding="utf-8")
    for student, expected in ((fetched, ("some/model", REVISION)), (tiny_student, ("student", None))):
        train.save_adapter(model, tmp_path / "adapter", student)
        about = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
        assert (about["base_model_name_or_path"], about["revision"]) == expected
