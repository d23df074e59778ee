"""Tiny random students in the shape of Qwen3-0.6B, Llama-3.2 and SmolLM2: their tokenizers' rules, their architectures.

The split patterns, special tokens and settings are those of the hub's files. The merges are learnt from a few sentences
in which punctuation stands before line breaks, so that "." and a line break become one token where the pattern allows.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SENTENCES = [
    "The sky is blue.\n\nThe sea is, too.\nWhy is the sky blue?\nBecause!!\n",
    "Query: what is 12.5% of 1024?\nResponse: 128.\n\nInstruct: Find it.\nQuery: is it 1999?\nResponse: yes.\n\n",
    "def f(x):\n    return {x: 3}\n\n\n  f(1024);\n",
] * 30


@dataclass(frozen=True)
class Family:
    """How one family's tokenizer splits text, what its special tokens are, and its model."""

    pre_tokenizer: Callable[[], Any]
    special: tuple[str, ...]
    settings: dict[str, Any]  # of tokenizer_config.json
    model: dict[str, Any]  # of config.json
    architecture: str
    normalizer: Callable[[], Any] | None = None
    puts_bos: bool = False  # the tokenizer itself puts bos before a text, unless asked not to


def _split(digits: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    pattern = pre_tokenizers.Split(Regex(_PATTERN.format(digits=digits)), "isolated")
    return pre_tokenizers.Sequence([pattern, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _single_digits() -> Any:
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _nfc() -> Any:
    from tokenizers import normalizers

    return normalizers.NFC()


_GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
FAMILIES = {
    "qwen3": Family(
        lambda: _split(""),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
        },
        {**_GROUPED, "head_dim": 16, "rope_theta": 1000000.0, "spare_rows": 20},  # heads wider than hidden / heads
        "Qwen3ForCausalLM",
        normalizer=_nfc,
    ),
    "llama3": Family(
        lambda: _split("{1,3}"),
        ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"),
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|end_of_text|>",
            "clean_up_tokenization_spaces": True,
        },
        {
            **_GROUPED,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        "LlamaForCausalLM",
        puts_bos=True,
    ),
    "smollm2": Family(
        _single_digits,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<filename>"),
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "clean_up_tokenization_spaces": False,
        },
        {"num_attention_heads": 4, "num_key_value_heads": 1, "tie_word_embeddings": True, "rope_theta": 100000.0},
        "LlamaForCausalLM",
    ),
}


def write_decoder(folder: Path, name: str, seed: int = 0) -> Path:
    """Tokenizer, config and random weights of a two-layer model of the family `name`, in the hub's file layout."""
    family = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder, family)
    _write_model(folder, family, vocabulary, seed)
    return folder


def write_tokenizer(folder: Path, family: Family) -> int:
    """tokenizer.json and tokenizer_config.json; returns the size of the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=family.puts_bos))
    tokenizer.pre_tokenizer, tokenizer.decoder = family.pre_tokenizer(), decoders.ByteLevel()
    if family.normalizer:
        tokenizer.normalizer = family.normalizer()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.special])
    if family.puts_bos:
        bos = family.special[0]
        ids = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {**family.settings, "model_max_length": 131072}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def _write_model(folder: Path, family: Family, vocabulary: int, seed: int) -> None:
    import torch
    import transformers

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.2}
    settings = dict(family.model)
    vocabulary += settings.pop("spare_rows", 0)  # Qwen3's matrix has more rows than its tokenizer has tokens
    architecture = getattr(transformers, family.architecture)
    torch.manual_seed(seed)
    model = architecture(architecture.config_class(vocab_size=vocabulary, **shape, **settings))
    with torch.no_grad():  # the norms' weights are ones by default, under which a lost norm would hardly show
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    model.save_pretrained(folder)
