"""A tiny prepared data set and tiny random models, laid out like outputs/."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from components.config import MineParams, RetrieveParams, ScoreParams
from tests.samples import write_prepared_tables

TOPICS = ("river", "engine", "bread", "planet", "music", "winter")


def write_prepared(folder: Path, per_topic: int = 4) -> None:
    """Two tasks. `facts`: each query names its document's topic and number. `kinds`: labels as documents."""
    corpus, queries, qrels = [], [], []
    for topic in TOPICS:
        for i in range(per_topic):
            name = f"{topic}-{i}"
            text = f"The {topic} number {i} is described here with word{i} and more about every {topic}."
            corpus.append({"doc_id": f"d-{name}", "text": text, "task": "facts", "label": None, "split": None})
            split = "dev" if i == 0 else "test" if i == 3 else "train"
            queries.append(
                {"query_id": f"q-{name}", "text": f"what about {topic} word{i}", "task": "facts", "split": split}
            )
            qrels.append({"query_id": f"q-{name}", "doc_id": f"d-{name}", "relevance": 1.0})
        corpus.append({"doc_id": f"l-{topic}", "text": topic, "task": "kinds", "label": topic, "split": None})
        queries.append(
            {"query_id": f"k-{topic}", "text": f"a {topic} thing", "task": "kinds", "split": "train", "label": topic}
        )
        qrels.append({"query_id": f"k-{topic}", "doc_id": f"l-{topic}", "relevance": 1.0})
    write_prepared_tables(
        folder,
        pl.DataFrame(corpus, infer_schema_length=None),
        pl.DataFrame([{"label": None, **row} for row in queries], infer_schema_length=None),
        pl.DataFrame(qrels),
    )


def _tokenizer(folder: Path, more_letters: str = "") -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [chr(c) for c in (*range(97, 123), *range(48, 58))] + list(f".,-?{more_letters}")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return fast


def _config(vocabulary: int, labels: int = 1) -> Any:
    from transformers import BertConfig

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    config.num_labels = labels
    return config


def make_dense_teacher(folder: Path, seed: int = 0, more_letters: str = "") -> Path:
    """A random one-layer BERT with mean pooling, saved by sentence-transformers; it knows Latin and `more_letters`."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    torch.manual_seed(seed)
    bare = folder.with_name(folder.name + ".bare")
    tokenizer = _tokenizer(bare, more_letters)
    BertModel(_config(len(tokenizer))).save_pretrained(bare)
    body = Transformer(str(bare), max_seq_length=96)
    SentenceTransformer(modules=[body, Pooling(32)], device="cpu").save_pretrained(str(folder))
    return folder


def make_reranker(folder: Path, seed: int = 0, labels: int = 1) -> Path:
    """A random one-layer BertForSequenceClassification."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder)
    BertForSequenceClassification(_config(len(tokenizer), labels)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """outputs/fetch/models with `dense`, `other` (same shape, other weights) and `reranker`."""
    folder = tmp_path_factory.mktemp("models")
    make_dense_teacher(folder / "dense", seed=0)
    make_dense_teacher(folder / "other", seed=1)
    make_reranker(folder / "reranker")
    return folder


@dataclass
class FakeContext:
    """A StageContext whose configuration holds only what the teacher's stages read."""

    outputs: Path
    out: Path
    work: Path
    cache: Path
    config: Any
    logged: list[tuple[dict[str, float], int | None]] = field(default_factory=list)

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((metrics, step))


def retrieve_params(**changes: Any) -> RetrieveParams:
    return RetrieveParams.model_validate({"depth": 5, "dense": {"dense": {}}, **changes})


def score_params(**changes: Any) -> ScoreParams:
    return ScoreParams.model_validate({"reranker": "maxsim", "model": "dense", "queries": "all", **changes})


def make_context(folder: Path, models: Path, name: str = "retrieve", **sections: Any) -> FakeContext:
    """A context for one stage in `folder`; prepare's tables are written when they are not there."""
    outputs = folder / "outputs"
    if not (outputs / "prepare").is_dir():
        write_prepared(outputs / "prepare")
    if not (outputs / "fetch").is_dir():
        (outputs / "fetch").mkdir(parents=True)
        (outputs / "fetch" / "models").symlink_to(models)
    config = SimpleNamespace(
        seed=7,
        threads=2,
        retrieve=retrieve_params(),
        score=score_params(),
        mine=MineParams(),
        train=None,
    )
    for section, params in sections.items():
        setattr(config, section, params)
    out, work = outputs / name, folder / "work"
    for path in (out, work):
        path.mkdir(parents=True, exist_ok=True)
    return FakeContext(outputs, out, work, folder / "cache", config)
