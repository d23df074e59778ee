"""The fast tokenizer gives SentencePiece's ids: on a model trained here, and on Mistral's own when it can be had."""

import random
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.config import ModelParams, PromptParams, WheelOrigin
from components.data.origins import collect
from components.model.backbone import load_tokenizer
from components.model.prompt import SPECIAL_TOKENS
from components.model.tokenizer_mistral import convert, load_fast, needs_conversion

SENTENCE = "where does the red kite live in spring and how many rivers flow through Wales today 1904 2017 it's"
WORDS = SENTENCE.split()
ODD = [
    "Hello",
    "",
    " ",
    "  two  spaces  inside ",
    "tab\tand\nnew line\n\n",
    "naïve café Straße",
    "日本語のテキスト",
    "🙂🙃 emoji",
    "don't",
    "12345.67",
    "▁under",
    "a" * 200,
    "\u200b zero width",
    "مرحبا بالعالم",
    "print(x[0], end='\\n')  # code",
    "https://example.org/a_b?c=d&e=%20",
]


def texts() -> list[str]:
    """At least 300 texts: sentences, digits, punctuation, scripts and spacing the model was not trained on."""
    draw = random.Random(3)
    made = [
        " ".join(draw.choices(WORDS, k=draw.randint(1, 25))) + draw.choice(["", "?", "...", " !", "\n"])
        for _ in range(250)
    ]
    letters = "abc XYZ 019 éß ¿ 漢字 🙂 \t-_/'\"()"
    return ODD + made + ["".join(draw.choices(letters, k=draw.randint(1, 60))) for _ in range(60)]


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece BPE model with Mistral's settings, trained on a few sentences."""
    from sentencepiece import SentencePieceTrainer

    folder = tmp_path_factory.mktemp("spm")
    draw = random.Random(1)
    (folder / "in.txt").write_text("\n".join(" ".join(draw.choices(WORDS, k=12)) for _ in range(400)), "utf-8")
    SentencePieceTrainer.train(
        input=str(folder / "in.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@pytest.fixture(scope="module")
def mistral_model() -> Path:
    """Mistral's own model from the package that ships it: from the checkout's cache, or downloaded once."""
    wheel = WheelOrigin(
        kind="wheel",
        package="mistral-common",
        version="1.13.1",
        sha256="98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
        path="mistral_common/data/tokenizer.model.v1",
        licence="Apache-2.0",
    )
    try:
        return collect(ModelParams(origin=wheel), "mistral", Path(__file__).parents[2] / ".cache").paths()[0]
    except UserError as problem:
        pytest.skip(f"Mistral's tokenizer cannot be had here: {problem}")


def sentencepiece_ids(model: Path, some: list[str]) -> list[list[int]]:
    from sentencepiece import SentencePieceProcessor

    reference = SentencePieceProcessor()
    reference.LoadFromSerializedProto(model.read_bytes())
    return [reference.encode(text) for text in some]


def fast_ids(tokenizer: Any, some: list[str]) -> list[list[int]]:
    return [tokenizer(text, add_special_tokens=False).input_ids for text in some]


def test_ids_equal_sentencepiece(small_model: Path) -> None:
    some = texts()
    assert len(some) >= 300
    assert fast_ids(load_fast(small_model), some) == sentencepiece_ids(small_model, some)


@pytest.mark.slow
def test_ids_equal_sentencepiece_on_mistrals_own_model(mistral_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    some = texts()
    convert(mistral_model, tmp_path, SPECIAL_TOKENS)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert fast_ids(tokenizer, some) == sentencepiece_ids(mistral_model, some)
    assert fast_ids(tokenizer, ["Hello"]) == [[22557]]  # 16230 when the word boundary is lost
    assert len(tokenizer) == 32003
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [32000, 32001, 32002]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)


def test_text_comes_back(small_model: Path) -> None:
    tokenizer = load_fast(small_model)
    for text in ("where does the red kite live", "日本語 🙂", "  two  spaces"):
        assert tokenizer.decode(fast_ids(tokenizer, [text])[0]) == text


def test_a_folder_without_tokenizer_json_is_converted_when_it_is_loaded(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(small_model.read_bytes())
    (tmp_path / "config.json").write_text("{}")
    assert needs_conversion(tmp_path)
    some = texts()
    assert fast_ids(load_tokenizer(tmp_path, PromptParams(template="plain")), some) == sentencepiece_ids(
        small_model, some
    )
    convert(small_model, tmp_path)
    assert not needs_conversion(tmp_path)


def test_what_is_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: no such SentencePiece model"):
        load_fast(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"bad: not a SentencePiece model"):
        load_fast(tmp_path / "bad")
