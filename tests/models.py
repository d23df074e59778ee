"""A tiny random student for tests of any room and for benchmarks."""

from pathlib import Path


def make_tiny_student(folder: Path, layers: int = 2, width: int = 32, seed: int = 0) -> Path:
    """A Mistral of `layers` layers with random weights and a byte-level tokenizer, saved like a fetched student."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from components.data.random_model import write_random_mistral

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *alphabet])}
    bytes_tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    bytes_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_tokenizer.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    write_random_mistral(folder, shape, seed, torch.float32)
    return folder
