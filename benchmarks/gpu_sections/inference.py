"""Teachers against sentence-transformers at its best batch, and exact search on the CPU against the card."""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_sections.bench import Bench, texts

MAX_TOKENS = 512


def _shape(hidden: int, layers: int, heads: int, intermediate: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
    }


SMALL = _shape(32, 2, 2, 64)


def rerank(bench: Bench) -> None:
    """Pairs a second of a cross-encoder of bge-reranker-v2-m3's shape: the project's and sentence-transformers'."""
    from sentence_transformers import CrossEncoder
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    from components.teacher.cross_encoder import CrossEncoderTeacher

    large, small = _shape(1024, 24, 16, 4096), SMALL
    number = bench.pick(4096, 16)
    words = _words(bench)
    pairs = list(zip(texts(bench.draw, words, number, 6, 14), texts(bench.draw, words, number, 90, 220), strict=True))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = XLMRobertaConfig(
            vocab_size=2000, max_position_embeddings=514, pad_token_id=0, **bench.pick(large, small) | {"num_labels": 1}
        )
        _save(bench, lambda: XLMRobertaForSequenceClassification(config), folder / "reranker")
        dtype = torch.bfloat16
        other = CrossEncoder(str(folder / "reranker"), device=bench.device.type, model_kwargs={"dtype": dtype})
        best = 0.0
        for size in bench.pick((32, 128, 512), (8,)):
            rate = number / bench.seconds(partial(_predict, other, pairs, size), times=1)
            bench.note(**{f"rerank_sentence_transformers_pairs_per_second_{size}": rate})
            best = max(best, rate)
        expected = _predict(other, pairs[:512], 32)
        ours = 0.0
        for budget in bench.pick((16_384, 65_536), (512,)):
            teacher = CrossEncoderTeacher.load(folder, "reranker", MAX_TOKENS, budget, dtype)
            rate = number / bench.seconds(partial(teacher.score, pairs), times=1)
            bench.note(**{f"rerank_pairs_per_second_{budget}": rate})
            ours = max(ours, rate)
        found = teacher.score(pairs[:512])
    bench.note(rerank_vs_sentence_transformers=ours / best, rerank_rank_correlation=_rank_correlation(found, expected))


def _predict(model: Any, pairs: list[tuple[str, str]], size: int) -> np.ndarray:
    identity = torch.nn.Identity()
    return np.asarray(model.predict(pairs, batch_size=size, show_progress_bar=False, activation_fn=identity))


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    first, second = (values.argsort().argsort() for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def dense(bench: Bench) -> None:
    """Tokens a second of a dense teacher of Qwen3-Embedding-0.6B's shape: the project's and sentence-transformers'."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import Qwen3Config, Qwen3Model

    from components.model.sentence_model import PLAIN, SentenceModel

    large = _shape(1024, 28, 16, 3072) | {"num_key_value_heads": 8, "head_dim": 128}
    small = SMALL | {"num_key_value_heads": 1, "head_dim": 16}
    config = Qwen3Config(vocab_size=2000, **bench.pick(large, small))
    own = texts(bench.draw, _words(bench), bench.pick(4096, 16), 90, 220)
    tokens = sum(len(text.split()) + 2 for text in own)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _save(bench, lambda: Qwen3Model(config), folder / "base")
        modules = [Transformer(str(folder / "base")), Pooling(config.hidden_size, "lasttoken"), Normalize()]
        SentenceTransformer(modules=modules, device=bench.device.type).save(str(folder / "dense"))
        other = SentenceTransformer(str(folder / "dense"), device=bench.device.type)
        best = 0.0
        for size in bench.pick((32, 128, 512), (8,)):
            seconds = bench.seconds(partial(other.encode, own, batch_size=size), times=1)
            bench.note(**{f"dense_sentence_transformers_tokens_per_second_{size}": tokens / seconds})
            best = max(best, tokens / seconds)
        model = SentenceModel.load(folder / "dense", bench.device, MAX_TOKENS)
        rate = tokens / bench.seconds(lambda: model.forward(own, PLAIN, tokens=False), times=1)
    bench.note(dense_tokens_per_second=rate, dense_vs_sentence_transformers=rate / best)


def search(bench: Bench) -> None:
    """Exact search over 500,000 documents: the CPU's scan against the card's; the same documents."""
    from components.model.device import all_cards
    from components.search.exact import exact_search

    queries, documents, width = bench.pick((2048, 500_000, 1024), (64, 3000, 32))
    draw = np.random.default_rng(0)
    corpus = draw.standard_normal((documents, width), dtype=np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    asked = corpus[:queries] + 0.05 * draw.standard_normal((queries, width), dtype=np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)

    def blocks() -> Any:
        return (corpus[start : start + 8192] for start in range(0, documents, 8192))

    found = {}
    for name, cards in (("cpu", []), ("card", all_cards() or [bench.device])):
        begin = bench.now()
        found[name] = exact_search(asked, blocks, 100, os.cpu_count() or 1, cards)
        bench.note(**{f"search_{name}_seconds": bench.now() - begin})
    same = float((found["cpu"].documents == found["card"].documents).mean())
    speedup = bench.figures["search_cpu_seconds"] / bench.figures["search_card_seconds"]
    bench.note(search_same_documents=same, search_card_vs_cpu=speedup)


def _words(bench: Bench) -> list[str]:
    return [f"w{number}" for number in range(bench.pick(1000, 200))]


def _save(bench: Bench, make: Any, folder: Path) -> None:
    """A random model in bf16 and a tokenizer with a token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    with bench.device:
        make().to(torch.bfloat16).save_pretrained(folder)
    names = ["<pad>", "<s>", "</s>", "<unk>", *_words(bench)]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=MAX_TOKENS,
    ).save_pretrained(folder)
