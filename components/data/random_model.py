"""Mistral models with random weights, in the file layout of a fetched model: for full-size rehearsals and tests.

Written one layer at a time, so a 7B model needs the memory of one layer.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def write_random_mistral(target: Path, shape: dict[str, int], seed: int, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write config.json and sharded safetensors (no tokenizer) to the folder `target`; equal seeds give equal bytes.

    Weights are drawn from N(0, 1 / width): with transformers' deviation of 0.02 all texts get nearly the same vector.

    Args:
        shape: the sizes in config.json, by their names there (components.config.MistralShape).
        dtype: of the weights in the files; Mistral is published in bf16.
    """
    target.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["MistralModel"],
        "model_type": "mistral",
        **shape,
        "head_dim": shape["hidden_size"] // shape["num_attention_heads"],
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": str(dtype).removeprefix("torch."),
    }
    draw = torch.Generator().manual_seed(seed)
    where: dict[str, str] = {}
    size, shards = 0, shape["num_hidden_layers"] + 1
    for number, sizes in enumerate(_shards(config), start=1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        tensors = {key: _drawn(rows, shape["hidden_size"], draw).to(dtype) for key, rows in sizes.items()}
        save_file(tensors, target / name, metadata={"format": "pt"})
        (target / name).chmod(0o644)  # save_file creates it with mode 0600
        where |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    for file, values in (("config.json", config), ("model.safetensors.index.json", index)):
        (target / file).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _shards(config: dict[str, Any]) -> Iterator[dict[str, tuple[int, ...]]]:
    """Tensor shapes by name: one shard per layer, then the embeddings and the last norm."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    for number in range(config["num_hidden_layers"]):
        yield {f"layers.{number}.{name}": size for name, size in layer.items()}
    yield {"embed_tokens.weight": (config["vocab_size"], hidden), "norm.weight": (hidden,)}


def _drawn(size: tuple[int, ...], width: int, draw: torch.Generator) -> torch.Tensor:
    if len(size) == 1:
        return torch.ones(size)
    return torch.randn(size, generator=draw) * width**-0.5
