"""`foundry export sides`: a folder for queries and one for documents, for clients that put strings through a tokenizer.

Sentence-transformers 5 and earlier, Infinity, TEI and vLLM's `input` know no chat template, no text after a query and
one length for all texts. Here the tokenizer does it: it puts bos before a string and the prompt's tail and eos after
it, and cuts what is between them to the side's own length. A client adds the task's prompt before a query, nothing else.

    FOLDER/queries      prompts by task; also the documents of a symmetric task, by the prompt TASK:document
    FOLDER/documents    no prompt; the weights are hard links to those of queries/
"""

import json
import os
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.serving.ask import PROMPTS, Model
from components.serving.copies import copy_model, new_folder

TRANSFORMER = "sentence_bert_config.json"
WEIGHTS = "*.safetensors"
CHAT = "*.jinja"


def export_sides(model: Model, folder: Path) -> None:
    """Write `model` into the new folders FOLDER/queries and FOLDER/documents.

    Raises:
        UserError: the folder exists, or the tokenizer merges the end of a text with the tail after it.
    """
    lengths = json.loads((model.folder / TRANSFORMER).read_text(encoding="utf-8"))
    suffix = str(json.loads((model.folder / PROMPTS).read_text(encoding="utf-8"))["query_suffix"])
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
    """One length, one form of text: what every version of sentence-transformers and the servers read."""
    from transformers import AutoTokenizer

    from components.model.export import change_json

    tokenizer = AutoTokenizer.from_pretrained(folder)
    _set_tail(tokenizer, suffix)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(folder)
    own = json.dumps({"max_seq_length": length, "do_lower_case": False}, indent=2)
    (folder / TRANSFORMER).write_text(own + "\n", encoding="utf-8")
    change_json(folder / PROMPTS, lambda about: about | {"prompts": prompts, "query_suffix": ""})


def _set_tail(tokenizer: Any, suffix: str) -> None:
    """Make the tokenizer write bos before a string, the suffix and eos after it."""
    from tokenizers.processors import TemplateProcessing

    eos = tokenizer.eos_token_id
    tail = [*_suffix_ids(tokenizer, suffix), eos]
    around = [("bos", [tokenizer.bos_token_id])] if tokenizer.bos_token else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*(name for name, _ in around), "$A", "tail"],
        special_tokens=[
            {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)}
            for name, ids in (*around, ("tail", tail))
        ],
    )


def _suffix_ids(tokenizer: Any, suffix: str) -> list[int]:
    """The suffix's ids after any text. Raises UserError where they depend on the text, as in Qwen's and Llama 3's."""
    from components.model.prompt import PROBES

    def ids_of(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    tail = ids_of("x" + suffix)[len(ids_of("x")) :]
    for probe in PROBES:
        text = f"x {probe.strip()}"
        if ids_of(text + suffix) != [*ids_of(text), *tail]:
            raise UserError(
                f"{tokenizer.name_or_path}: the tokenizer merges {text!r} with the {suffix!r} after it, which a "
                "client's tokenizer cannot do; use `foundry serve`, or send token ids (docs/serving.md)"
            )
    return tail
