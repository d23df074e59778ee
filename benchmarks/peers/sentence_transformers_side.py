"""sentence-transformers as its documentation has it: mined hard negatives, MultipleNegativesRankingLoss, LoRA, prompts.

    python -m benchmarks.peers.sentence_transformers_side PREPARED STUDENT TEACHER OUT --rate 1e-3 --seed 1 --steps 90

One data set a batch, the instruction before queries (and documents of symmetric tasks), an eos as the pooled token.
Negatives: `mine_hard_negatives` with the dense teacher and the relative margin of NV-Retriever; a task whose labels
are the positives draws its negatives from the batch.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.json_file import write_json
from benchmarks.peers.data import TaskPairs, arguments_of, cpu_seconds, save_sentence_model, training_pairs

PROMPT = "Instruct: {}\nQuery: "


def main() -> None:
    """Mine, train, save the model and what it took."""
    given = arguments_of(__doc__)
    data = {one.task.name: mined(one, given.teacher) for one in training_pairs(given.prepared)}
    model = load(given)
    before = cpu_seconds()
    train(model, data, given)
    training = cpu_seconds() - before
    model[0].model.save_pretrained(given.out / "adapter")
    merge(given)
    save_sentence_model(given.out / "merged", given.evaluated_tokens, given.out / "model")
    figures = {"cpu_seconds": cpu_seconds(), "training_cpu_seconds": training}
    write_json(given.out / "run.json", figures)


def load(given: argparse.Namespace) -> Any:
    """The student with a new LoRA adapter."""
    import torch
    from peft import LoraConfig, TaskType
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    torch.manual_seed(given.seed)
    body = Transformer(str(given.student), max_seq_length=given.tokens)
    model = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "lasttoken"), Normalize()])
    model.add_adapter(
        LoraConfig(
            task_type=TaskType.FEATURE_EXTRACTION,
            r=16,
            lora_alpha=32,
            lora_dropout=0.1,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        )
    )
    return model


def merge(given: argparse.Namespace) -> None:
    """The trained adapter in the student's weights, with the tokenizer, as a folder of transformers."""
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    base = AutoModel.from_pretrained(given.student)
    PeftModel.from_pretrained(base, given.out / "adapter").merge_and_unload().save_pretrained(given.out / "merged")
    AutoTokenizer.from_pretrained(given.student).save_pretrained(given.out / "merged")


def mined(one: TaskPairs, teacher: Path) -> Any:
    """The task's rows with a hard negative each; without where the positives are labels."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    anchors, positives = zip(*one.pairs, strict=True)
    rows = Dataset.from_dict({"anchor": list(anchors), "positive": list(positives)})
    if one.task.kind in ("classification", "clustering"):
        return rows
    model = SentenceTransformer(str(teacher), device="cpu", local_files_only=True)
    model.max_seq_length = 96
    return mine_hard_negatives(
        rows, model, corpus=one.documents, relative_margin=0.05, num_negatives=1, range_max=30, batch_size=32,
        sampling_strategy="top", output_format="triplet", verbose=False,
    )  # fmt: skip


def train(model: Any, data: dict[str, Any], given: argparse.Namespace) -> None:
    """Train for the given steps."""
    import torch
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.training_args import BatchSamplers, MultiDatasetBatchSamplers

    from components.contracts.tasks import read_tasks
    from components.model.backbone import training_precision

    tasks = read_tasks(given.prepared / "tasks.yaml")
    prompts = {}
    for name, rows in data.items():
        sides = rows.column_names if tasks[name].symmetric else ["anchor"]
        prompts[name] = {side: PROMPT.format(tasks[name].instruction) for side in sides}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(given.out / "trainer"),
        max_steps=given.steps,
        per_device_train_batch_size=given.batch,
        learning_rate=given.rate,
        warmup_steps=min(10, given.steps // 4),
        lr_scheduler_type="linear",
        use_cpu=True,
        bf16=training_precision("auto", torch.device("cpu")) == "bf16",
        prompts=prompts,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
        seed=given.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=20,
    )
    loss = MultipleNegativesRankingLoss(model, scale=50.0)
    SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss).train()


if __name__ == "__main__":
    main()
