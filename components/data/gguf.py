"""Convert a llama-architecture GGUF file to a Mistral model folder: config, fp32 safetensors, fast tokenizer.

Llama and Mistral without a sliding window are the same network, so weights are copied unchanged, with one
exception: llama.cpp stores the rows of the q and k projections in interleaved rotary order, transformers in halves.
`layers` keeps the first N decoder layers: SmolLM2's first 8 of 30 embed better untrained, at a third of the cost.
Neither torch nor transformers is used: faster import, and the output bytes do not depend on their versions.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.base.errors import UserError

_NAMES = {
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
_CONTROL = 3  # gguf.TokenType.CONTROL


def convert(source: Path, target: Path, layers: int | None = None) -> None:
    """Write the model in `source` to the folder `target`; the same file gives the same bytes.

    Raises:
        UserError: not a readable GGUF file, not the llama architecture, or `layers` is more than the file has.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(source)
    except (ValueError, OSError) as problem:
        raise UserError(f"{source}: not a readable GGUF file ({problem})") from None
    values = {name: field.contents() for name, field in reader.fields.items()}
    if values.get("general.architecture") != "llama":
        raise UserError(f"{source}: architecture {values.get('general.architecture')!r}; only llama is converted")
    if layers is not None and layers > values["llama.block_count"]:
        raise UserError(f"{source}: layers: {layers} requested, the file has {values['llama.block_count']}")
    config = _config(values, {tensor.name: tuple(tensor.shape) for tensor in reader.tensors}, layers)
    target.mkdir(parents=True, exist_ok=True)
    _save_weights(reader.tensors, config, target)
    _write_json(config, target / "config.json")
    _save_tokenizer(values, config, target)


def _config(values: dict[str, Any], shapes: dict[str, tuple[int, ...]], layers: int | None) -> dict[str, Any]:
    hidden, heads = values["llama.embedding_length"], values["llama.attention.head_count"]
    bos, eos = values["tokenizer.ggml.bos_token_id"], values["tokenizer.ggml.eos_token_id"]
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": int(shapes["token_embd.weight"][1]),
        "hidden_size": hidden,
        "intermediate_size": values["llama.feed_forward_length"],
        "num_hidden_layers": layers or values["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": values.get("llama.attention.head_count_kv", heads),
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "max_position_embeddings": values["llama.context_length"],
        "rms_norm_eps": float(values["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(values.get("llama.rope.freq_base", 10000.0)),
        "sliding_window": None,
        "tie_word_embeddings": "output.weight" not in shapes,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": values.get("tokenizer.ggml.padding_token_id", eos),
        "dtype": "float32",
    }


def _save_weights(tensors: Any, config: dict[str, Any], target: Path) -> None:
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    weights = {}
    for tensor in tensors:
        name = _name(tensor.name, config["num_hidden_layers"])
        if name is None:
            continue
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if name.endswith("q_proj.weight"):
            weight = _halves(weight, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            weight = _halves(weight, config["num_key_value_heads"])
        weights[name] = np.ascontiguousarray(weight)
    save_file(dict(sorted(weights.items())), target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # save_file creates it with mode 0600


def _name(name: str, layers: int) -> str | None:
    """transformers' name of a GGUF tensor; None for tensors that are skipped (dropped layers, rotary tables)."""
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name]
    if name == "output.weight":
        return "lm_head.weight"
    prefix, _, rest = name.partition(".")
    number, _, part = rest.partition(".")
    if prefix != "blk" or part not in _NAMES or int(number) >= layers:
        return None
    return f"model.layers.{number}.{_NAMES[part]}"


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of each head's rows: [heads, half, 2, d] -> [heads, 2, half, d]."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _save_tokenizer(values: dict[str, Any], config: dict[str, Any], target: Path) -> None:
    """GPT-2 style byte-level BPE from the vocabulary and merges in the file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = values["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in values["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if values.get("tokenizer.ggml.pre") == "smollm":  # SmolLM splits numbers into digits before BPE
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    else:
        tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    kinds = values["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    (target / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[config["bos_token_id"]],
        "eos_token": tokens[config["eos_token_id"]],
        "pad_token": tokens[config["pad_token_id"]],
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }
    _write_json(settings, target / "tokenizer_config.json")


def _write_json(values: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
