"""Convert Mistral's SentencePiece model (tokenizer.model) to a fast tokenizer with the same ids.

transformers 5.23 also loads a folder that has only tokenizer.model, without a warning, and then loses the word boundary
at the start of a text ("Hello" becomes 16230 instead of 22557). Here the BPE is rebuilt: a merge is any split of a
piece into two known pieces, ranked by the score of the merged piece, with byte fallback. `needs_conversion` selects
the folders. A folder with a tokenizer.json loads correctly, except for texts that start with a space; the ids of this
module equal SentencePiece's for those too.
"""

import json
from pathlib import Path
from typing import Any

from components.base.errors import UserError

WORD_START = "▁"


def needs_conversion(folder: Path) -> bool:
    """Whether a model folder has a SentencePiece model only."""
    return (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()


def load_fast(model: Path) -> Any:
    """A `PreTrainedTokenizerFast` from a SentencePiece BPE file; bos, eos and unk from the file; eos is the pad token.

    Raises:
        UserError: the file is missing or is not a SentencePiece BPE model with byte fallback.
    """
    from transformers import PreTrainedTokenizerFast

    pieces = _read(model)
    return PreTrainedTokenizerFast(tokenizer_object=_bpe(pieces, ()), **_settings(pieces))


def convert(model: Path, target: Path, extra: tuple[str, ...] = ()) -> None:
    """Write tokenizer.json and tokenizer_config.json to the folder `target`, with `extra` special tokens at the end."""
    pieces = _read(model)
    target.mkdir(parents=True, exist_ok=True)
    (target / "tokenizer.json").write_text(_bpe(pieces, extra).to_str(pretty=True) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **_settings(pieces)}
    (target / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _settings(pieces: Any) -> dict[str, Any]:
    bos, eos, unknown = pieces.id_to_piece([pieces.bos_id(), pieces.eos_id(), pieces.unk_id()])
    names = {"bos_token": bos, "eos_token": eos, "unk_token": unknown, "pad_token": eos}
    return {**names, "clean_up_tokenization_spaces": False}


def _read(model: Path) -> Any:
    from sentencepiece import SentencePieceProcessor

    if not model.is_file():
        raise UserError(f"{model}: no such SentencePiece model; name the file tokenizer.model of a Mistral checkpoint")
    pieces = SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(model.read_bytes())
    except RuntimeError:
        raise UserError(f"{model}: not a SentencePiece model; fetch the file again") from None
    if not any(pieces.is_byte(number) for number in range(pieces.vocab_size())):
        raise UserError(f"{model}: has no byte pieces; only Mistral's kind (BPE with byte fallback) is converted")
    return pieces


def _bpe(pieces: Any, extra: tuple[str, ...]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    count = pieces.vocab_size()
    names = pieces.id_to_piece(list(range(count)))
    ids = {name: number for number, name in enumerate(names)}
    unknown = names[pieces.unk_id()]
    bpe = models.BPE(ids, _merges(pieces, names), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(WORD_START), normalizers.Replace(" ", WORD_START)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(WORD_START, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    control = [name for number, name in enumerate(names) if pieces.is_control(number) or pieces.is_unknown(number)]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in (*control, *extra)])
    return tokenizer


def _merges(pieces: Any, names: list[str]) -> list[tuple[str, str]]:
    """All merges of two pieces, best score first; for the same merged piece, shortest left part first."""
    ordinary = {
        name: pieces.get_score(number)
        for number, name in enumerate(names)
        if not (pieces.is_control(number) or pieces.is_unknown(number) or pieces.is_byte(number))
    }
    found = [
        (-score, cut, name)
        for name, score in ordinary.items()
        for cut in range(1, len(name))
        if name[:cut] in ordinary and name[cut:] in ordinary
    ]
    return [(name[:cut], name[cut:]) for _, cut, name in sorted(found)]
