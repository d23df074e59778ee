"""Export the trained student as a plain sentence-transformers folder: merged weights, pooling, prompts, no custom code.

    model = SentenceTransformer("outputs/train/export")
    queries = model.encode_query(["is the sky blue"], prompt_name="boolq")     # a task of params.yaml
    documents = model.encode_document(["The sky looks blue because ..."])

The prompt's tail (`\\n<response>` after a query) is in the tokenizer's chat template, which sentence-transformers >= 6
applies to every text, so the token ids equal those of `components.model.prompt`. Vectors agree to 1e-5 in fp32.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.config import Config
from components.contracts.shots import TaskPrompt
from components.contracts.tasks import Task
from components.model.backbone import DTYPES, grow_embeddings, load_tokenizer
from components.model.locate import locate_model
from components.model.prompt import Prompt

DOCUMENT = "document"


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
    grow_embeddings(backbone, len(tokenizer))
    merged: Any = PeftModel.from_pretrained(backbone, adapter).merge_and_unload()
    merged.save_pretrained(folder)
    prompt = Prompt(tokenizer, config.prompt)
    tokenizer.chat_template = chat_template(prompt)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:  # Llama 3; the attention mask marks padding, so any token works
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_max_length = config.prompt.prefix_tokens + config.prompt.query_tokens
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
    set_prompts(folder, prompt, {task.name: TaskPrompt(task.instruction, task.symmetric) for task in tasks})


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


def set_prompts(folder: Path, prompt: Prompt, tasks: Mapping[str, TaskPrompt]) -> None:
    """Write each task's prefix (instruction and its shots) into config_sentence_transformers.json."""
    path = folder / "config_sentence_transformers.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    prompts = {name: prompt.prefix_text(task.instruction, task.shots) for name, task in tasks.items()}
    about |= {"prompts": {**prompts, DOCUMENT: ""}, "default_prompt_name": None}
    path.write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
