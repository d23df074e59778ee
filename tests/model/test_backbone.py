"""Decoders of other families than Mistral's: loaded as they are, packed as they compute alone, trained one step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from components.base.errors import UserError
from components.config import EncoderParams, PromptParams, parse_config
from components.model.backbone import PROJECTIONS, grow_embeddings, load_backbone, load_tokenizer, pooled
from components.model.encoder import Encoder
from components.model.packing import pack
from components.model.prompt import SPECIAL_TOKENS, Prompt, Shot
from components.training.examples import load_training_data
from components.training.train import add_adapter
from components.training.trainer import Trainer
from components.training.world import World
from tests.model.decoders import write_decoder
from tests.samples import small_parameters, write_training_tables

PROMPT = PromptParams(template="special", prefix_tokens=400)
SHOTS = (Shot("why is the sea blue?", "It is the sky's light.\nSo it is."), Shot("12.5% of 1024?", "128."))
TEXTS = ["is the sky blue?", "what?!\n\n", "  3 apples  in 1999. ", "🙂 naïve e\u0301te:", "a" * 60]


def own_forward(folder: Path, chats: list[str]) -> np.ndarray:
    """The folder's model and tokenizer in plain transformers: one string a text, right padding, the last token."""
    tokenizer, model = load_tokenizer(folder, PROMPT), AutoModel.from_pretrained(folder)
    grow_embeddings(model, tokenizer)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    batch = tokenizer(chats, add_special_tokens=False, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    last = hidden[torch.arange(len(chats)), batch["attention_mask"].sum(1) - 1]
    return torch.nn.functional.normalize(last, dim=-1).numpy()


def test_queries_behind_a_shared_prefix_are_those_of_the_plain_padded_forward(decoder: Path) -> None:
    encoder = Encoder.load(decoder, PROMPT, EncoderParams(device="cpu"))
    tokenizer, prompt = encoder.prompt.tokenizer, encoder.prompt
    head = (tokenizer.bos_token or "") + prompt.prefix_text("Find it.", SHOTS)
    chats = [head + text.strip() + prompt.tail_text + tokenizer.eos_token for text in TEXTS]
    expected = own_forward(decoder, chats)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS, "Find it.", SHOTS), expected, atol=1e-5)
    prefix = prompt.prefix_ids("Find it.", SHOTS)
    assert encoder.tokens == len(prefix) + sum(map(len, prompt.query_ids(TEXTS)))  # the prefix once
    with torch.no_grad():
        apart = pooled(encoder.model, pack([], [prefix + ids for ids in prompt.query_ids(TEXTS)]), "last")
    np.testing.assert_allclose(apart.numpy(), expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.05  # random weights that tell texts apart


def test_documents_are_those_of_the_plain_padded_forward(decoder: Path) -> None:
    encoder = Encoder.load(decoder, PROMPT, EncoderParams(device="cpu"))
    tokenizer = encoder.prompt.tokenizer
    chats = [(tokenizer.bos_token or "") + text.strip() + tokenizer.eos_token for text in TEXTS]
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), own_forward(decoder, chats), atol=1e-5)


def test_a_packed_training_step_moves_every_projection_and_prompt_token(decoder: Path, tmp_path: Path) -> None:
    config = parse_config(small_parameters(**{"train.shots": {"max": 2, "share": 2}, "train.row_tokens": 96}), "test")
    tokenizer = load_tokenizer(decoder, config.prompt)
    model, prompt = add_adapter(decoder, tokenizer, config), Prompt(tokenizer, config.prompt)
    data = load_training_data(write_training_tables(tmp_path / "tables"), tmp_path)
    trainer = Trainer(model, prompt, data, config, tmp_path, lambda metrics, step: None, World())
    batch = trainer.batches[1]
    rows = trainer._prepare(1).rows
    assert any(placed.row.prefix_length for placed in rows)
    loss = trainer.step.run(1, rows, len(batch.query_texts), trainer._loss(batch, {}))
    assert loss > 0
    moved = [name for name, p in trainer.named.items() if p.grad is not None and p.grad.norm() > 0]
    for projection in PROJECTIONS:  # LoRA's B starts at zero, so only B has a gradient yet
        assert len([name for name in moved if f"{projection}.lora_B" in name]) == 2, projection
    assert any("trainable_tokens" in name for name in moved)


def test_the_tokenizer_is_the_folder_s_file(decoder: Path) -> None:
    file, loaded = Tokenizer.from_file(str(decoder / "tokenizer.json")), load_tokenizer(decoder, PROMPT)
    for text in ["a   12  5", "in 1999.\n\n 12", "cafe\u0301", *TEXTS]:  # transformers 5.23's GPT2Tokenizer joins "  1"
        assert loaded(text, add_special_tokens=False)["input_ids"] == file.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("padding", [0, 8])
def test_the_prompt_s_tokens_start_as_their_words(decoder: Path, tmp_path: Path, padding: int) -> None:
    tokenizer = load_tokenizer(decoder, PROMPT)
    before = load_backbone(decoder, range(1), EncoderParams(device="cpu")).get_input_embeddings().weight
    if padding:  # a matrix with rows that its tokenizer does not use, as Qwen's
        shutil.copytree(decoder, tmp_path, dirs_exist_ok=True)
        padded = AutoModel.from_pretrained(decoder)
        padded.resize_token_embeddings(len(before) + padding, mean_resizing=True)
        padded.save_pretrained(tmp_path)
    student = tmp_path if padding else decoder
    after = load_backbone(student, tokenizer, EncoderParams(device="cpu")).get_input_embeddings().weight
    new = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    others = sorted(set(range(len(before))) - set(new))
    assert max(new) < len(after)
    assert torch.equal(after[others], before[others])
    for token, word in zip(SPECIAL_TOKENS, ("Instruct:", "Query:", "Response:"), strict=True):
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(after[tokenizer.convert_tokens_to_ids(token)], before[ids].mean(0))


def test_a_token_that_the_model_has_keeps_its_embedding(decoder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(decoder, PROMPT)
    tokenizer.save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(decoder)
    model.resize_token_embeddings(len(tokenizer))
    model.get_input_embeddings().weight.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path, load_tokenizer(tmp_path, PROMPT), EncoderParams(device="cpu"))
    assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_a_folder_without_a_tokenizer_is_named(decoder: Path, tmp_path: Path) -> None:
    shutil.copy(decoder / "config.json", tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}: no tokenizer here; .*tokenizer.json"):
        load_tokenizer(tmp_path, PROMPT)


@pytest.mark.parametrize(
    ("name", "changes", "found"),
    [
        ("Gemma2", {"head_dim": 8, "attn_logit_softcapping": 50.0}, "capped attention scores"),
        ("GptOss", {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}, "attention sinks"),
        ("Qwen3Next", {"head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1}, "linear_attention"),
        ("Phi3", {}, "no q_proj and no k_proj and no v_proj for LoRA"),
        ("Bert", {}, "layers without self_attn"),
    ],
)
def test_a_model_that_packed_rows_cannot_compute_is_refused(tmp_path: Path, name, changes, found) -> None:
    import transformers

    shape = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**shape, **heads, **changes)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}: .*{found}.*set fetch.models.student"):
        load_backbone(tmp_path, range(300), EncoderParams(device="cpu"))


def test_a_sliding_window_shorter_than_a_sequence_is_refused(tmp_path: Path) -> None:
    folder, params = write_decoder(tmp_path, "qwen3"), EncoderParams(device="cpu")
    config = json.loads((folder / "config.json").read_text())
    config |= {"use_sliding_window": True, "sliding_window": 12, "layer_types": ["full_attention", "sliding_attention"]}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder, PROMPT)
    short = PROMPT.model_copy(update={"prefix_tokens": 6, "query_tokens": 6, "document_tokens": 12})
    for long in ({"prefix_tokens": 7}, {"document_tokens": 13}):
        with pytest.raises(UserError, match="a sliding window of 12 tokens, and a sequence may have 13; lower prompt"):
            load_backbone(folder, tokenizer, params, short.model_copy(update=long))
    backbone = load_backbone(folder, tokenizer, params, short)
    pooled(backbone, pack([], [[5] * 12]), "last")
    with pytest.raises(UserError, match=r"a sequence of 13 tokens .* sliding window of 12; lower prompt.prefix_tokens"):
        pooled(backbone, pack([], [[5] * 13]), "last")
