"""GGUF: a generated llama file becomes a Mistral whose logits equal transformers' own reading of the same file."""

from pathlib import Path

import numpy as np
import pytest

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.data.gguf import convert

LAYERS, WIDTH, HEADS, KV_HEADS, INNER = 3, 32, 4, 2, 48
TOKENS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz0123456789Ġ", "th", "the", "Ġthe"]
MERGES = ["t h", "th e", "Ġ the"]


def write_gguf(path: Path, architecture: str = "llama") -> Path:
    """A llama file with random weights and a small byte-level vocabulary."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, shape in tensor_shapes().items():
        rng = np.random.default_rng(sum(name.encode()))
        writer.add_tensor(name, rng.normal(0, 0.3, shape).astype(np.float32) + (1 if "norm" in name else 0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), WIDTH), "output_norm.weight": (WIDTH,)}
    narrow = WIDTH * KV_HEADS // HEADS
    block = {"attn_q": (WIDTH, WIDTH), "attn_k": (narrow, WIDTH), "attn_v": (narrow, WIDTH)}
    block |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH)}
    for layer in range(LAYERS):
        for name, shape in {**block, "ffn_down": (WIDTH, INNER)}.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
        shapes |= {f"blk.{layer}.attn_norm.weight": (WIDTH,), f"blk.{layer}.ffn_norm.weight": (WIDTH,)}
    return shapes


def test_logits_equal_transformers_own_reading(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    file = write_gguf(tmp_path / "tiny.gguf")
    convert(file, tmp_path / "model")
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    theirs = LlamaForCausalLM.from_pretrained(tmp_path, gguf_file=file.name)
    assert type(ours).__name__ == "MistralForCausalLM"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("the cat in the hat 2017", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=0, atol=1e-6)


def test_first_layers_only(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    file = write_gguf(tmp_path / "tiny.gguf")
    convert(file, tmp_path / "whole")
    convert(file, tmp_path / "cut", layers=2)
    whole, cut = (AutoModel.from_pretrained(tmp_path / name) for name in ("whole", "cut"))
    assert (len(whole.layers), len(cut.layers)) == (LAYERS, 2)
    whole.layers = whole.layers[:2]
    whole.config.num_hidden_layers = 2
    with torch.no_grad():
        ids = torch.tensor([[1, 5, 9, 2]])
        torch.testing.assert_close(cut(ids)[0], whole(ids)[0], rtol=0, atol=0)


def test_tokenizer_merges_splits_digits_and_keeps_control_tokens(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    convert(write_gguf(tmp_path / "tiny.gguf"), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.tokenize("the the 12") == ["the", "Ġthe", "Ġ", "1", "2"]
    assert tokenizer("a</s>").input_ids == [TOKENS.index("a"), 2]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


def test_same_file_same_bytes(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    for name in ("a", "b"):
        convert(file, tmp_path / name)
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"something else entirely, and long enough for a header")
    with pytest.raises(UserError, match=r"no\.gguf: not a readable GGUF file"):
        convert(tmp_path / "no.gguf", tmp_path / "model")
    with pytest.raises(UserError, match=r"architecture 'gemma'; only llama is converted"):
        convert(write_gguf(tmp_path / "gemma.gguf", "gemma"), tmp_path / "model")
    with pytest.raises(UserError, match=r"layers: 4 requested, the file has 3"):
        convert(write_gguf(tmp_path / "tiny.gguf"), tmp_path / "model", layers=4)
    assert not (tmp_path / "model").exists()
