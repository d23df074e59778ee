"""QLoRA: the base is held in 4 bits, the adapter is trained in fp32; on the CPU it is bitsandbytes' own slow path."""

import importlib.util

import pytest
import torch

from components.base.errors import UserError

FOUR_BITS = {"train.quantization": "4bit", "train.precision": "bf16"}


@pytest.mark.slow
def test_the_base_is_four_bits_and_only_the_adapter_learns(make_trainer):
    trainer = make_trainer(**FOUR_BITS)
    base = {name: p.clone() for name, p in trainer.model.named_parameters() if not p.requires_grad}
    projections = [weight for name, weight in base.items() if "_proj.base_layer" in name]
    assert len(projections) == 2 * 7
    assert all(weight.dtype == torch.uint8 for weight in projections)
    before = {name: p.detach().clone() for name, p in trainer.named.items()}
    trainer.fit()
    assert all(torch.equal(base[name], p) for name, p in trainer.model.named_parameters() if name in base)
    assert all(p.dtype == torch.float32 and not torch.equal(p, before[name]) for name, p in trainer.named.items())


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_adapter(make_trainer, tmp_path):
    whole = make_trainer(work=tmp_path / "whole", **FOUR_BITS)
    losses = whole.fit()
    part = make_trainer(work=tmp_path / "part", **FOUR_BITS)
    real = part._run_step

    def stop(step, take):
        if step == 3:
            raise KeyboardInterrupt
        return real(step, take)

    part._run_step = stop
    with pytest.raises(KeyboardInterrupt):
        part.fit()
    resumed = make_trainer(work=tmp_path / "part", **FOUR_BITS)
    assert resumed.fit() == losses
    assert all(torch.equal(p, whole.named[name]) for name, p in resumed.named.items())


def test_without_bitsandbytes_it_says_what_to_install(make_trainer, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name))
    with pytest.raises(UserError, match=r"train.quantization: 4bit needs bitsandbytes; pip install"):
        make_trainer(**FOUR_BITS)
