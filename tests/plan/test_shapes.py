"""Shapes of models: the 7B against its true parameters, and models that are not known."""

import pytest
import torch

from components.base.errors import UserError
from components.plan.shapes import read_shape, shape_of
from tests.plan.samples import MISTRAL, full


@pytest.mark.slow
def test_mistral_7b_on_the_meta_device_has_the_planned_shape():
    from peft import LoraConfig, get_peft_model
    from transformers import MistralConfig, MistralModel

    from components.model.backbone import PROJECTIONS

    with torch.device("meta"):
        model = MistralModel(MistralConfig(vocab_size=32_003))
        assert sum(p.numel() for p in model.parameters()) == 7_110_672_384
        adapted = get_peft_model(model, LoraConfig(r=64, target_modules=list(PROJECTIONS)))
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert MISTRAL.total + 3 * MISTRAL.hidden == 7_110_672_384
    assert MISTRAL.lora(64) == trainable == 167_772_160


def test_unknown_models_are_named(tmp_path):
    config = full()
    stranger = config.fetch.models["student"].model_copy(
        update={"origin": config.fetch.models["student"].origin.model_copy(update={"repo": "some/one"})}
    )
    with pytest.raises(UserError, match="some/one is not known yet; run dvc repro fetch"):
        shape_of("student", stranger, tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(UserError, match="no field 'num_attention_heads'"):
        read_shape(tmp_path / "config.json")
