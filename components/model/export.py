"""Export the trained student as a plain sentence-transformers folder: merged weights, pooling, prompts, no custom code.

    model = SentenceTransformer("outputs/train/export")
    queries = model.encode_query(["is the sky blue"], prompt_name="boolq")     # a task of params.yaml
    documents = model.encode_document(["The sky looks blue because ..."])

The prompt's tail (`\\n<response>` after a query) is in the tokenizer's chat template, which sentence-transformers >= 6
applies to every text, so the token ids equal those of `components.model.prompt`. Vectors agree to 1e-5 in fp32.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.config import Config
from components.contracts.shots import TaskPrompt
from components.contracts.tasks import Task
from components.model.backbone import DTYPES, grow_embeddings, load_tokenizer
from components.model.locate import locate_model
from components.model.prompt import Prompt

DOCUMENT = "document"
SETTINGS = "config_sentence_transformers.json"


def export_model(student: Path, adapter: Path, folder: Path, config: Config, tasks: Sequence[Task]) -> None:
    """Merge the adapter into the student and write `folder`; zero-shot prompts of `tasks` (see `set_prompts`).

    The host holds the weights once: sentence-transformers loads the folder without weights and gets the merged model.
    """
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import AutoModel

    tokenizer = load_tokenizer(student, config.prompt)
    backbone = AutoModel.from_pretrained(locate_model(student), dtype=DTYPES[config.encoder.precision])
    grow_embeddings(backbone, tokenizer)
    merged: Any = PeftModel.from_pretrained(backbone, adapter).merge_and_unload()
    merged.save_pretrained(folder)
    prompt = Prompt(tokenizer, config.prompt)
    tokenizer.chat_template = chat_template(prompt)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:  # Llama 3; the attention mask marks padding, so any token works
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = config.prompt.prefix_tokens + config.prompt.query_tokens
    set_post_processor(tokenizer)
    tokenizer.save_pretrained(folder)

    output = {"method": "forward", "method_output_name": "last_hidden_state"}
    transformer = Transformer(
        str(folder),
        model_kwargs={"device_map": "meta"},
        modality_config={"text": output, "message": {**output, "format": "flat"}},
        module_output_name="token_embeddings",
        document_length=config.prompt.document_tokens,
    )
    merged.config = transformer.model.config  # includes sentence-transformers' setting: no KV cache
    transformer.model = merged
    pooling = Pooling(merged.config.hidden_size, "lasttoken" if config.encoder.pooling == "last" else "mean")
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    _add_keys_of_other_clients(folder, config)
    prompts = {task.name: TaskPrompt(task.instruction, task.symmetric) for task in tasks}
    set_prompts(folder, prompt, prompts, only_task(tasks), shots_from="outputs/register")


def set_post_processor(tokenizer: Any) -> None:
    """Make plain tokenization put bos (if any) and eos around a text.

    A document is then right in every client that tokenizes it plainly (TEI, vLLM's `input`, transformers' pipelines),
    and so is a query that is given as prompt + text + tail. The chat template writes bos and eos itself, and its text
    is tokenized without special tokens.
    """
    from tokenizers.processors import TemplateProcessing

    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    around = [(bos, tokenizer.bos_token_id)] if bos else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*(token for token, _ in around), "$A", eos],
        special_tokens=list(dict([*around, (eos, tokenizer.eos_token_id)]).items()),
    )


def _add_keys_of_other_clients(folder: Path, config: Config) -> None:
    """Beside sentence-transformers 6's keys those of earlier versions, which TEI and others read; 6 takes both.

    The modules get the names of version 5. Version 5 refuses `document_length`, for which version 6 has no other place:
    it is left out where it changes nothing, otherwise `foundry export sides` makes folders for version 5.
    """
    pooling = {f"pooling_mode_{mode}": False for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
    pooling |= {"pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_weightedmean_tokens": False}
    pooling["pooling_mode_lasttoken" if config.encoder.pooling == "last" else "pooling_mode_mean_tokens"] = True
    # First: earlier versions of vLLM take the first key that is true, and `include_prompt` is.
    change_json(folder / "1_Pooling" / "config.json", lambda own: pooling | own)
    change_json(folder / "modules.json", _old_names)
    most = config.prompt.prefix_tokens + config.prompt.query_tokens
    change_json(
        folder / "sentence_bert_config.json", lambda own: own | {"max_seq_length": most, "do_lower_case": False}
    )
    if config.prompt.document_tokens == most:
        change_json(folder / "sentence_bert_config.json", lambda own: _without(own, "document_length"))
    add_keys_of_transformers_4(folder)


def add_keys_of_transformers_4(folder: Path) -> None:
    """Say what transformers 5 writes in transformers 4's words too: 4 would take its default base of the rotation.

    TEI's earlier versions do not start without `rope_theta`. The tokenizer's class has two names in version 5.
    """
    change_json(folder / "config.json", lambda own: own | _old_rotation(own.get("rope_parameters") or {}))
    change_json(folder / "tokenizer_config.json", _old_class)


def _old_class(own: dict[str, Any]) -> dict[str, Any]:
    known = own.get("tokenizer_class") != "TokenizersBackend"
    return own if known else own | {"tokenizer_class": "PreTrainedTokenizerFast"}


def _old_rotation(rope: dict[str, Any]) -> dict[str, Any]:
    """`rope_theta`, and `rope_scaling` where there is one; nothing for a model whose layers differ."""
    if "rope_theta" not in rope:
        return {}
    scaling = {} if rope.get("rope_type", "default") == "default" else {"rope_scaling": _without(rope, "rope_theta")}
    return {"rope_theta": rope["rope_theta"], **scaling}


def _old_names(modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"type": f"sentence_transformers.models.{one['type'].rpartition('.')[2]}"} for one in modules]


def _without(own: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in own.items() if name != key}


def change_json(file: Path, change: Callable[[Any], Any]) -> None:
    """Replace a JSON file's content by what `change` makes of it."""
    value = change(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def chat_template(prompt: Prompt) -> str:
    """Jinja template: bos (if any), the prompt (if any), the text as in `Prompt.as_text`, the prompt's tail, eos."""
    tail = prompt.tail_text.replace("\n", "\\n")
    bos = "" if prompt.bos is None else "{{- bos_token -}}"
    words = json.dumps(prompt.special_words, ensure_ascii=False)
    as_text = (  # `if` first: replacing each of Llama 3's 256 special words takes jinja 8 ms per text
        "{%- set text = message['content'] | trim -%}{%- set ns.text = text -%}"
        "{%- for word in " + words + " if word in text -%}"
        "{%- set ns.text = ns.text | replace(word, word[0] + ' ' + word[1:]) -%}{%- endfor -%}{{- ns.text -}}"
    )
    return (
        "{%- set ns = namespace(prompt='', text='') -%}" + bos + "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{%- set ns.prompt = message['content'] -%}{{- ns.prompt -}}"
        "{%- else -%}" + as_text + "{%- endif -%}{%- endfor -%}"
        "{%- if ns.prompt -%}{{- '" + tail + "' -}}{%- endif -%}{{- eos_token -}}"
    )


def set_prompts(
    folder: Path, prompt: Prompt, tasks: Mapping[str, TaskPrompt], only: str | None = None, shots_from: str = ""
) -> None:
    """Write the prompts of tasks into config_sentence_transformers.json.

    TASK            what stands before a query: the instruction and its shots
    TASK:document   of a symmetric task, before a document: the instruction; texts are put as queries
    document        empty
    query           only of a model with one task: what `encode_query` takes without a name

    Where there are several tasks, `document` is also the default prompt. It changes no vector: a text without the name
    of a prompt is embedded as a document in any case. Sentence-transformers warns of a default prompt at loading.

    `query_suffix` is what follows a query's text, for clients without the chat template, and `shots_from` names the
    folder that has the chosen shots when this one does not; sentence-transformers leaves both alone.

    Args:
        only: the one task that the model was trained for.
    """
    prompts = {name: prompt.prefix_text(task.instruction, task.shots) for name, task in tasks.items()}
    both = {
        document_prompt(name): prompt.prefix_text(task.instruction) for name, task in tasks.items() if task.symmetric
    }
    default = {"query": prompts[only]} if only else {}
    new: dict[str, Any] = {"prompts": {**prompts, **both, **default, DOCUMENT: ""}}
    new |= {"default_prompt_name": None if only else DOCUMENT}
    new |= {"query_suffix": prompt.tail_text} | ({"shots_from": shots_from} if shots_from else {})
    change_json(folder / SETTINGS, lambda about: _without(about, "shots_from") | new)


def document_prompt(task: str) -> str:
    """The name of the prompt before the documents of a symmetric task."""
    return f"{task}:{DOCUMENT}"


def only_task(tasks: Sequence[Task]) -> str | None:
    """The name of the task, where there is one."""
    return tasks[0].name if len(tasks) == 1 else None
