"""The decoder and its LoRA adapter: loading, wrapping, and the pooled forward over a packed row."""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from components.base.errors import UserError
from components.config import EncoderParams, PromptParams
from components.model.attention import PACKED
from components.model.device import card_has_bf16
from components.model.fused import fuse_elementwise
from components.model.last_layer import narrow_last_layer
from components.model.locate import locate_model
from components.model.packing import Row
from components.model.prompt import add_special_tokens
from components.model.tokenizer_mistral import load_fast, needs_conversion

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def training_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bf16 where the processor multiplies it faster than fp32 (a GPU, AMX), else fp32.

    AVX512-BF16 without AMX is not enough: oneDNN reaches 84 GFLOP/s a core in bf16 there and 154 in fp32.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if card_has_bf16() else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16") else "fp32"


def load_tokenizer(model: Path, prompt: PromptParams) -> Any:
    """The student's fast tokenizer, with the prompt's special tokens when the template uses them.

    A tokenizer.json is loaded unchanged. AutoTokenizer would rebuild it with the class that tokenizer_config.json
    names, and transformers 5.23 then loses parts: SmolLM2's (GPT2Tokenizer) no longer splits numbers into digits.

    Raises:
        UserError: no model folder at `model`, or no tokenizer in it.
    """
    folder = locate_model(model)
    if needs_conversion(folder):
        tokenizer = load_fast(folder / "tokenizer.model")
    elif (folder / "tokenizer.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        raise UserError(
            f"{folder}: no tokenizer here; fetch the model's tokenizer.json (or Mistral's tokenizer.model) with it, "
            f"by fetch.models.{model.name} in params.yaml"
        )
    if prompt.template == "special":
        add_special_tokens(tokenizer)
    return tokenizer


def load_backbone(
    model: Path, tokenizer: Any, encoder: EncoderParams, prompt: PromptParams | None = None, **how: Any
) -> Any:
    """The decoder without LM head, frozen, its embedding matrix grown to the tokenizer's size.

    Args:
        prompt: the lengths that its sequences may reach.
        how: passed to `from_pretrained` (quantization, device map).

    Raises:
        UserError: no model folder at `model`, an architecture for which packed texts and single texts differ, or a
            sliding window shorter than the longest sequence.
    """
    folder = locate_model(model)
    config = AutoConfig.from_pretrained(folder)
    backbone = AutoModel.from_pretrained(
        folder, config=config, dtype=DTYPES[encoder.precision], attn_implementation=PACKED, **how
    )
    _check_attention(folder, backbone)
    if prompt is not None:
        _check_window(folder, backbone.config, prompt)
    grow_embeddings(backbone, tokenizer)
    backbone.config.use_cache = False
    backbone.requires_grad_(False)
    narrow_last_layer(backbone)
    if backbone.device.type == "cuda":
        fuse_elementwise(backbone)
    return backbone


def _check_attention(folder: Path, backbone: Any) -> None:
    """Require plain attention in every layer: packed rows and the LoRA target names depend on it.

    peft adapts only the projections that it finds: in Phi-3, with one matrix for query, key and value, only the output.
    """
    config = backbone.config
    layers = list(getattr(backbone, "layers", ()))
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
    if not layers or not all(hasattr(layer, "self_attn") for layer in layers):
        other.append("layers without self_attn")
    elif missing := [name for name in PROJECTIONS[:4] if not hasattr(layers[0].self_attn, name)]:
        other.append(f"no {' and no '.join(missing)} for LoRA")
    if getattr(config, "attn_logit_softcapping", None) is not None:
        other.append("capped attention scores")
    if any(hasattr(getattr(layer, "self_attn", None), "sinks") for layer in layers):
        other.append("attention sinks")
    if other:
        raise UserError(
            f"{folder}: a {config.model_type} has {', '.join(other)}; packed rows and LoRA need plain attention; "
            "set fetch.models.student to a decoder that has it (Mistral, Llama, Qwen3, ...)"
        )


def _check_window(folder: Path, config: Any, prompt: PromptParams) -> None:
    """Packed rows have no sliding window: a longer sequence would be trained on more than a served model sees."""
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    if window is None or (layers and "sliding_attention" not in layers):
        return
    longest = max(prompt.prefix_tokens + prompt.query_tokens, prompt.document_tokens)
    if longest > window:
        raise UserError(
            f"{folder}: a sliding window of {window} tokens, and a sequence may have {longest}; lower "
            "prompt.prefix_tokens + prompt.query_tokens, and prompt.document_tokens, to the window in params.yaml"
        )


def grow_embeddings(backbone: Any, tokenizer: Any) -> None:
    """Give the embedding matrix a row for every token; new rows are the mean of the old, without noise.

    The prompt's special tokens (`tokenizer.new_rows`) start as the mean of their words' rows instead: before training,
    three equal tokens could not be told apart (docs/recipe.md). A padded matrix has rows for them already.
    """
    old = backbone.get_input_embeddings().weight
    rows, starts = old.shape[0], getattr(tokenizer, "new_rows", {})
    words = {i: old.detach()[ids].float().mean(0) for i, ids in starts.items()}
    if rows < len(tokenizer):
        mean = old.detach().float().mean(0)
        backbone.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        backbone.get_input_embeddings().weight.detach()[rows:] = mean
    weight = backbone.get_input_embeddings().weight.detach()
    for i, word in words.items():
        weight[i] = word


def pooled(backbone: Any, row: Row, pooling: str) -> torch.Tensor:
    """L2-normalised fp32 vectors [N, dim] of the row's N sequences."""
    read_at = row.last if pooling == "last" else None
    hidden = backbone(
        input_ids=row.ids, position_ids=row.positions, row=row, read_at=read_at, use_cache=False
    ).last_hidden_state[0]
    if read_at is not None:
        vectors = hidden.index_select(0, read_at).float()
    else:
        body = hidden[row.prefix_length :].float()
        owner = row.segments[row.prefix_length :] - 1
        sums = torch.zeros(len(row.lengths), body.shape[1], device=body.device).index_add(0, owner, body)
        lengths = body.new_zeros(len(row.lengths)).index_add(0, owner, torch.ones_like(body[:, 0]))
        vectors = sums / lengths[:, None]
    return functional.normalize(vectors, dim=-1)
