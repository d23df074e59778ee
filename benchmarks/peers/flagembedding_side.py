"""FlagEmbedding's ICL trainer, bge-en-icl's: few-shot examples of the batch, mined negatives, teacher scores.

    python -m benchmarks.peers.flagembedding_side PREPARED STUDENT TEACHER OUT --rate 1e-3 --seed 1 --steps 9 --python P

Negatives by the rule of its hn_mine script, which its package leaves out: drawn at random from a window of the dense
teacher's ranks. Teacher scores are the teacher's cosines over the temperature that ours distils them with (its loss has
none). Its trainer runs in the Python of an environment that has it.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_file import write_json
from benchmarks.peers.data import TaskPairs, arguments_of, cpu_seconds, save_sentence_model, training_pairs, write_jsonl

WINDOW = (2, 200)  # ranks that hn_mine draws from by default
NEGATIVES, TEMPERATURE = 7, 0.05
TYPES = {"classification": "symmetric_class", "clustering": "symmetric_clustering", "sts": "symmetric_sts"}
SPECIAL = ("<instruct>", "<query>", "<response>")


def main() -> None:
    """Mine, train, save the model and what it took."""
    given = arguments_of(__doc__)
    files = [mined(one, given) for one in training_pairs(given.prepared)]
    before = cpu_seconds()
    trainer = [given.python, "-m", "FlagEmbedding.finetune.embedder.decoder_only.icl", *options(given, files)]
    pickled = {
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"
    }  # its merge reads its own embedding by torch.load, as torch < 2.6
    subprocess.run(trainer, check=True, env={**os.environ, **pickled})
    training = cpu_seconds() - before
    save_sentence_model(given.out / "trainer" / "merged_model", given.evaluated_tokens, given.out / "model")
    shutil.rmtree(given.out / "trainer")
    figures = {"cpu_seconds": cpu_seconds(), "training_cpu_seconds": training}
    write_json(given.out / "run.json", figures)


def mined(one: TaskPairs, given: Any) -> Path:
    """The task's file for its trainer: a line a query, with positives, negatives and the teacher's cosines."""
    from sentence_transformers import SentenceTransformer

    teacher = SentenceTransformer(str(given.teacher), device="cpu", local_files_only=True)
    teacher.max_seq_length = given.evaluated_tokens
    answers: dict[str, list[str]] = {}
    for query, positive in one.pairs:
        answers.setdefault(query, []).append(positive)
    place = {text: i for i, text in enumerate(one.documents)}
    documents = teacher.encode(one.documents, normalize_embeddings=True, batch_size=32)
    queries = teacher.encode(list(answers), normalize_embeddings=True, batch_size=32)
    random = np.random.default_rng(given.seed)
    rows = []
    for (query, positives), vector in zip(answers.items(), queries, strict=True):
        cosines = documents @ vector
        known = {place[text] for text in positives if text in place}
        window = [i for i in np.argsort(-cosines)[WINDOW[0] : WINDOW[1]] if int(i) not in known]
        if not window:  # fewer labels than the window's first rank
            window = [i for i in range(len(cosines)) if i not in known]
        drawn = random.choice(window, size=min(NEGATIVES, len(window)), replace=False)
        scores = (cosines / TEMPERATURE).tolist()
        rows.append(
            {
                "query": query,
                "pos": positives,
                "neg": [one.documents[i] for i in drawn],
                "pos_scores": [scores[place[text]] if text in place else 1 / TEMPERATURE for text in positives],
                "neg_scores": [scores[i] for i in drawn],
                "prompt": one.task.instruction,
                "type": "normal" if not one.task.symmetric else TYPES[one.task.kind],
                "category": positives[0],
            }
        )
    file = given.out / "data" / f"{one.task.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(file, rows)
    return file


def options(given: Any, files: list[Path]) -> list[str]:
    """Its command line. Query length: its shots take what is over 512 tokens."""
    import torch

    from components.model.backbone import training_precision

    bf16 = training_precision("auto", torch.device("cpu")) == "bf16"
    values = {
        "model_name_or_path": given.student, "output_dir": given.out / "trainer", "cache_path": given.out / "cache",
        "additional_special_tokens": SPECIAL, "query_instruction_format": "<instruct>{}\n<query>{}",
        "icl_suffix_str": "\n<response>", "query_max_len": 512 + 160, "passage_max_len": given.tokens,
        "example_query_max_len": 48, "example_passage_max_len": 48, "train_data": files,
        "train_group_size": 2, "same_dataset_within_batch": True, "small_threshold": 0, "drop_threshold": 0,
        "knowledge_distillation": True, "kd_loss_type": "kl_div", "temperature": 0.02,
        "sentence_pooling_method": "last_token", "normalize_embeddings": True, "use_lora": True, "lora_rank": 16,
        "lora_alpha": 32, "lora_dropout": 0.1, "save_merged_lora_model": True, "learning_rate": given.rate,
        "warmup_steps": min(10, given.steps // 4), "max_steps": given.steps, "per_device_train_batch_size": given.batch,
        "seed": given.seed, "bf16": bf16, "use_cpu": True, "save_strategy": "no", "logging_steps": 20,
        "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    parts: list[str] = []
    for name, value in values.items():
        parts += [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return parts


if __name__ == "__main__":
    main()
