"""A random model is a Mistral of the asked shape, the same bytes for the same seed, and texts differ under it."""

import torch
from transformers import AutoModel

from components.base.hashing import content_hash
from components.config import load_config
from components.data.random_model import write_random_mistral
from tests.samples import ROOT

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_transformers_loads_every_weight_of_it(tmp_path):
    write_random_mistral(tmp_path, SHAPE, seed=1)
    model, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert next(model.parameters()).dtype == torch.bfloat16
    assert {key: getattr(model.config, key) for key in SHAPE} == SHAPE


def test_two_texts_have_two_vectors(tmp_path):
    write_random_mistral(tmp_path, SHAPE, seed=1, dtype=torch.float32)
    hidden = AutoModel.from_pretrained(tmp_path)(torch.tensor([[3, 4, 5], [6, 7, 5]])).last_hidden_state[:, -1]
    assert torch.cosine_similarity(hidden[0], hidden[1], dim=0) < 0.9


def test_the_seed_decides_the_bytes(tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        write_random_mistral(tmp_path / name, SHAPE, seed)
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "again") != content_hash(tmp_path / "two")


def test_the_rehearsal_has_the_full_recipe_s_shape_prompt_and_training():
    full, rehearsal = (load_config(ROOT / "recipes" / f"{name}.yaml") for name in ("mistral-7b", "rehearsal-7b"))
    assert full.prompt == rehearsal.prompt
    assert full.encoder == rehearsal.encoder
    # It is short, without dev checks, and saves the activations that 24 GiB of host memory do not hold.
    short = {"steps", "batch_queries", "warmup_steps", "checkpoint_every", "dev", "gradient_checkpointing"}
    assert full.train.model_dump(exclude=short) == rehearsal.train.model_dump(exclude=short)
