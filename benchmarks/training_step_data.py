"""What every side of benchmarks/training_step.py is given: the settings, a random model and texts."""

import json
import random
from pathlib import Path
from typing import Any

INSTRUCTION = "find the text that tells of the same matter"
SPECIAL = ["<instruct>", "<query>", "<response>"]
MAX_SHOTS, TEMPERATURE, RATE = 5, 0.02, 1e-4
LORA: dict[str, Any] = {"rank": 16, "alpha": 32, "dropout": 0.1}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, int]] = {
    "symmetric": {"queries": 32, "negatives": 1, "longest": 60},
    "retrieval": {"queries": 16, "negatives": 3, "longest": 300},
}


def write_model(folder: Path, layers: int, width: int) -> None:
    """A random Mistral with a byte-level BPE tokenizer learnt on the made-up words, the three prompt tokens in it."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from components.data.random_model import write_random_mistral

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    named = ["<unk>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=8000, special_tokens=named, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([" ".join(words()), INSTRUCTION], learn)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL], special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # transformers 4, which FlagEmbedding needs, knows the class by this name
    named_class = json.loads(config.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.write_text(json.dumps(named_class), encoding="utf-8")
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": width * 7 // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    }
    write_random_mistral(folder, shape, 0, torch.float32)


def words() -> list[str]:
    """3,000 made-up words."""
    draw = random.Random(0)
    parts = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return ["".join(draw.choices(parts, k=draw.randint(2, 3))) for _ in range(3000)]


def write_texts(path: Path, kind: str, steps: int, quick: bool) -> None:
    """Queries with a positive and negatives, in the form FlagEmbedding reads: twice what the measured steps need."""
    shape, draw, known = KINDS[kind], random.Random(1), words()

    def text(longest: int) -> str:
        length = draw.randint(20, 60) if longest == 60 else int(min(longest, 30 + draw.expovariate(1 / 80)))
        return " ".join(draw.choices(known, k=length // (4 if quick else 1)))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(2 * steps * shape["queries"]):
            row = {
                "query": text(60),
                "pos": [text(shape["longest"])],
                "neg": [text(shape["longest"]) for _ in range(shape["negatives"])],
                "prompt": INSTRUCTION,
                "type": "symmetric_sts" if kind == "symmetric" else "normal",
            }
            file.write(json.dumps(row) + "\n")
