"""`foundry export sides`: a folder for queries and one for documents, for clients that put strings through a tokenizer.

Sentence-transformers 5 and earlier, Infinity and TEI know no chat template, no text after a query and one length for
all texts. Here the tokenizer does it: it puts bos before a string, the prompt's tail and eos after it, and cuts what is
between them to the side's own length. A client adds the task's prompt before a query, nothing else.

    FOLDER/queries      prompts by task; also the documents of a symmetric task, by the prompt TASK:document
    FOLDER/documents    no prompt; the weights are hard links to those of queries/
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from components.model.export import add_keys_of_transformers_4, change_json
from components.model.prompt import PROBES
from components.serving.ask import PROMPTS, Model
from components.serving.copies import copy_model, new_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRANSFORMER = "sentence_bert_config.json"
WEIGHTS = "*.safetensors"
CHAT = "*.jinja"


def export_sides(model: Model, folder: Path) -> None:
    """Write `model` into the new folders FOLDER/queries and FOLDER/documents.

    Raises:
        UserError: the folder exists, the model is of an earlier version, or the tokenizer merges the end of a text with
            the tail after it.
    """
    lengths = json.loads((model.folder / TRANSFORMER).read_text(encoding="utf-8"))
    suffix = json.loads((model.folder / PROMPTS).read_text(encoding="utf-8")).get("query_suffix")
    if suffix is None:
        raise UserError(f"{model.folder}: an earlier version exported it, without query_suffix; use `foundry serve`")
    whole = int(lengths["max_seq_length"])
    with new_folder(folder) as draft:
        copy_model(model, draft / "queries", without=[CHAT])
        copy_model(model, draft / "documents", without=[CHAT, WEIGHTS])
        for weights in (draft / "queries").glob(WEIGHTS):
            os.link(weights, draft / "documents" / weights.name)
        queries = {name: prompt for name, prompt in model.prompts.items() if prompt}
        _write_side(draft / "queries", whole, suffix, queries)
        _write_side(draft / "documents", int(lengths.get("document_length", whole)), "", {"document": ""})


def _write_side(folder: Path, length: int, suffix: str, prompts: dict[str, str]) -> None:
    """One length, one form of text, and no key that an earlier version passes to a constructor that refuses it."""
    _set_tail(folder, suffix)
    change_json(folder / "tokenizer_config.json", lambda own: own | {"model_max_length": length})
    change_json(folder / TRANSFORMER, lambda _: {"max_seq_length": length, "do_lower_case": False})
    change_json(folder / "1_Pooling" / "config.json", _old_keys)
    own = {"prompts": prompts, "default_prompt_name": None, "query_suffix": ""}
    change_json(folder / PROMPTS, lambda about: about | own)
    add_keys_of_transformers_4(folder)


def _old_keys(pooling: dict[str, Any]) -> dict[str, Any]:
    old = {name: value for name, value in pooling.items() if name not in ("embedding_dimension", "pooling_mode")}
    return {"word_embedding_dimension": pooling["embedding_dimension"], **old}


def _set_tail(folder: Path, suffix: str) -> None:
    """Make the tokenizer write bos before a string, the suffix and eos after it."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    file, about = folder / "tokenizer.json", json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(file))
    around = [about.get("bos_token") or "", about["eos_token"]]
    bos, eos = (tokenizer.encode(token, add_special_tokens=False).ids for token in around)
    parts = [("bos", bos)] if bos else []
    parts.append(("tail", [*_suffix_ids(tokenizer, suffix, folder), *eos]))
    tokenizer.post_processor = TemplateProcessing(
        single=[*(name for name, _ in parts[:-1]), "$A", "tail"],
        special_tokens=[
            {"id": name, "ids": ids, "tokens": [tokenizer.id_to_token(one) for one in ids]} for name, ids in parts
        ],
    )
    tokenizer.save(str(file))


def _suffix_ids(tokenizer: "Tokenizer", suffix: str, folder: Path) -> list[int]:
    """The suffix's ids after any text. Raises UserError where they depend on the text, as in Qwen's and Llama 3's."""

    def ids_of(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    tail = ids_of("x" + suffix)[len(ids_of("x")) :]
    for probe in PROBES:
        text = f"x {probe}".strip()
        if ids_of(text + suffix) != [*ids_of(text), *tail]:
            raise UserError(
                f"{folder}: the tokenizer merges {text!r} with the {suffix!r} after it, which a post-processor "
                "cannot do; use `foundry serve`, or send token ids (docs/serving.md)"
            )
    return tail
