"""Training goes on from a saved adapter, and refuses one that does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.base.errors import UserError
from components.config import Config, LocalOrigin, ModelParams, parse_config
from components.data.fetch import fetch_model
from components.model.backbone import load_tokenizer
from components.training.train import add_adapter, save_adapter
from tests.models import make_tiny_student
from tests.samples import small_parameters


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fetched models: a student and an adapter whose weights all differ from a new one's."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_student(folder / "student")
    model = adapted(folder, parse_config(small_parameters(), "test"))
    with torch.no_grad():
        torch.manual_seed(3)
        for weight in trained(model).values():
            weight.add_(torch.randn_like(weight))
    save_adapter(model, folder / "before")
    return folder


def adapted(models: Path, config: Config) -> Any:
    return add_adapter(models / "student", load_tokenizer(models / "student", config.prompt), config)


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def going_on(**changes: Any) -> Config:
    config = parse_config(small_parameters(**changes), "test")
    return config.model_copy(update={"train": config.train.model_copy(update={"init_adapter": "before"})})


def test_all_weights_are_those_of_the_adapter(models: Path, tmp_path: Path) -> None:
    model, new = adapted(models, going_on()), adapted(models, parse_config(small_parameters(), "test"))
    save_adapter(model, tmp_path / "again")
    again, before = (tmp_path / "again", models / "before")
    assert (again / "adapter_model.safetensors").read_bytes() == (before / "adapter_model.safetensors").read_bytes()
    fresh = trained(new)
    assert not any(torch.equal(weight, fresh[name]) for name, weight in trained(model).items())
    assert {weight.dtype for weight in trained(model).values()} == {torch.float32}


def reshape(folder: Path) -> None:
    settings = folder / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "r": 4}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder),
            "no LoRA adapter here; declare fetch.models.before",
        ),
        (reshape, r"the adapter has rank 4, and train.lora.rank is 16; set train.lora: \{rank: 4, alpha: 32\}"),
    ],
)
def test_an_adapter_that_does_not_fit_is_named(
    models: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    shutil.copytree(models, tmp_path / "models")
    change(tmp_path / "models" / "before")
    with pytest.raises(UserError, match=message):
        adapted(tmp_path / "models", going_on())


@pytest.mark.parametrize("other", [{"width": 64}, {"layers": 3}])
def test_an_adapter_of_another_student_is_named(models: Path, tmp_path: Path, other: dict[str, int]) -> None:
    shutil.copytree(models / "before", tmp_path / "before")
    make_tiny_student(tmp_path / "student", **other)
    with pytest.raises(UserError, match="adapter of another student"):
        adapted(tmp_path, going_on())


def test_the_adapter_is_one_of_fetch() -> None:
    with pytest.raises(UserError, match=r"train.init_adapter: 'before' is no adapter of fetch.models; declare it"):
        parse_config(small_parameters(**{"train.init_adapter": "before"}), "test")


def test_fetch_takes_an_adapter_s_folder(models: Path, tmp_path: Path) -> None:
    def fetched(name: str) -> Path:
        origin = LocalOrigin(kind="local", path=str(models / name), licence="none")
        params = ModelParams(origin=origin, format="adapter")
        fetch_model(params, f"fetch.models.{name}.origin", tmp_path / name, tmp_path / "cache", seed=0)
        return tmp_path / name

    assert (fetched("before") / "adapter_model.safetensors").is_file()
    with pytest.raises(UserError, match=r"no adapter_config.json in it; name the folder"):
        fetched("student")
