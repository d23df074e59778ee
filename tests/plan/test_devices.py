"""Cards by torch's names, and the efficiency that was measured on one."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from components.base.errors import UserError
from components.config import load_config
from components.plan.devices import EFFICIENCY, GPUS, Efficiency, device_named, efficiency_of, own_device
from components.plan.report import findings
from components.plan.stages import make_plan
from components.plan.tokens import estimated_texts
from tests.samples import ROOT


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA A10G", "A10G"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100"),
    ],
)
def test_a_card_is_known_by_torch_s_name(monkeypatch: pytest.MonkeyPatch, name: str, known: str) -> None:
    card = SimpleNamespace(name=name, total_memory=7e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    found = own_device()
    assert (found.name, found.memory) == (name, 7e9)
    assert (found.flops, found.has_bf16) == (GPUS[known].flops, GPUS[known].has_bf16)


def test_the_efficiency_is_the_measured_one_of_the_card(tmp_path: Path) -> None:
    counted = efficiency_of(GPUS["H100"], tmp_path)
    assert (counted.share, counted.source) == (EFFICIENCY, "counted: no such card was measured")
    folder = tmp_path / "docs" / "gpu"
    folder.mkdir(parents=True)
    (folder / "H100.json").write_text(json.dumps({"card": "NVIDIA H100", "training_flops_per_second": 4.945e14}))
    assert efficiency_of(GPUS["H100"], tmp_path) == Efficiency(0.5, "measured, docs/gpu/H100.json")
    assert efficiency_of(GPUS["H200"], tmp_path).share == EFFICIENCY
    assert efficiency_of(GPUS["H100"], tmp_path, 0.3) == Efficiency(0.3, "given")
    (folder / "H100.json").write_text('{"failed_gradcache": "OutOfMemoryError"}')
    with pytest.raises(UserError, match=r"H100\.json: no figures of benchmarks/gpu\.py"):
        efficiency_of(GPUS["H100"], tmp_path)


@pytest.mark.slow
def test_a_recipe_in_bf16_is_refused_on_a_card_without_it() -> None:
    config = load_config(ROOT / "recipes" / "mistral-7b-qlora-24gb.yaml")
    for name, refused in (("T4", True), ("RTX-4090", False)):
        plan = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS[name], 1)
        wrong, _ = findings(config, plan, GPUS[name], Path("nowhere"), free=1e15, host=1e15)
        assert any(line.startswith("train: T4 does not multiply bf16; take a card") for line in wrong) == refused


@pytest.mark.slow
def test_the_qlora_recipe_fits_24_gb_cards_and_the_full_one_80_gb() -> None:
    fits = {}
    for recipe in ("mistral-7b", "mistral-7b-qlora-24gb"):
        config = load_config(ROOT / "recipes" / f"{recipe}.yaml")
        for name, device in GPUS.items():
            plan = make_plan(config, estimated_texts(config), Path("nowhere"), device, 1)
            fits[recipe, name] = plan.training.peak < device.memory
    whole = [name for (recipe, name), right in fits.items() if right and recipe == "mistral-7b"]
    quantized = [name for (recipe, name), right in fits.items() if right and recipe != "mistral-7b"]
    assert {"A100", "H100", "H200"} <= set(whole) <= {"A100", "H100", "H200", "L40S"}
    assert {"A10G", "L4", "RTX-4090", "L40S"} <= set(quantized)


def test_an_unknown_device_is_named():
    with pytest.raises(UserError, match="--gpu X1: unknown"):
        device_named("X1")
