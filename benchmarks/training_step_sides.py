"""The sides of benchmarks/training_step.py, each in a process of its own."""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.training_step_data import (
    INSTRUCTION,
    KINDS,
    LORA,
    MAX_SHOTS,
    PROJECTIONS,
    RATE,
    TEMPERATURE,
)

Side = Iterator[tuple[float, int]]  # of each step: seconds, useful tokens


def take_turns(name: str, kind: str, work: Path, steps: int, threads: int) -> None:
    """Say `figures` when ready, then after each step that the other end asks for."""
    import torch

    from components.base.machine import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.manual_seed(0)
    random.seed(0)
    for seconds, tokens in {"ours": ours, "sentence_transformers": st, "flagembedding": fe}[name](kind, work, steps):
        print(f"figures\t{seconds}\t{tokens}", flush=True)


def ready(what: str) -> None:
    """Tell the other end that this side is loaded and warm, and wait for the first turn."""
    print(f"figures\tready\t{what}", flush=True)
    await_turn()


def await_turn() -> None:
    """Wait until the other end asks for a step."""
    if not sys.stdin.readline():
        raise SystemExit(0)


class Turns:
    """Our trainer's log: it tells a step's figures and waits for the next turn; the first step only warms up."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, figures: dict[str, float], step: int | None) -> None:
        seconds = figures["speed/step_seconds"]
        if self.steps == 0:
            ready(f"torch {version('torch')}")
        else:
            print(f"figures\t{seconds}\t{round(figures['speed/useful_tokens_per_second'] * seconds)}", flush=True)
            await_turn()
        self.steps += 1


def our_data(kind: str, work: Path) -> Any:
    """The texts as the trainer holds them."""
    import numpy as np

    from components.contracts.tasks import Task
    from components.contracts.texts import Texts, write_texts
    from components.training.examples import Examples, TrainingData
    from components.training.judgements import Judgements

    rows = [json.loads(line) for line in (work / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()]
    queries, documents = [row["query"] for row in rows], [text for row in rows for text in (*row["pos"], *row["neg"])]
    negatives = len(rows[0]["neg"])
    groups = np.arange(len(documents), dtype=np.uint32).reshape(len(rows), 1 + negatives)
    numbers = np.arange(len(rows), dtype=np.uint32)
    for name, texts in (("queries", queries), ("documents", documents)):
        write_texts(texts, work / f"{kind}-{name}.arrow")
    examples = Examples(
        query=numbers,
        positive=groups[:, 0],
        positive_score=np.ones(len(rows)),
        starts=np.arange(len(rows) + 1, dtype=np.int64) * negatives,
        weight=np.ones(len(rows)),
        negatives=groups[:, 1:].ravel(),
        negative_scores=np.zeros(len(rows) * negatives),
    )
    return TrainingData(
        tasks={kind: Task(kind, "retrieval", INSTRUCTION, kind == "symmetric", 1.0, "none", "random")},
        examples={kind: examples},
        query_text=Texts(work / f"{kind}-queries.arrow"),
        document_text=Texts(work / f"{kind}-documents.arrow"),
        query_label=np.full(len(rows), -1, dtype=np.int32),
        document_label=np.full(len(documents), -1, dtype=np.int32),
        labels=[],
        judgements=Judgements(numbers, groups[:, 0], np.ones(len(rows))),
        dev_queries={},
        dev_documents={},
    )


def our_config(kind: str, steps: int, seed: int = 0) -> Any:
    """The starter's parameters with this benchmark's batch."""
    import yaml

    from components.config import parse_config

    source = Path(__file__).resolve().parents[1] / "recipes" / "starter.yaml"
    raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    shape = KINDS[kind]
    raw |= {"seed": seed, "prompt": {"template": "special"}}
    raw["encoder"] = {"device": "cpu", "precision": "fp32"}
    raw["train"] = {
        "steps": steps + 1,
        "precision": "fp32",
        "batch_queries": shape["queries"],
        "alpha": 0.5,
        "phases": [],
        "merge": None,
        "row_tokens": 4096,
        "negatives": shape["negatives"],
        "learning_rate": RATE,
        "temperature": TEMPERATURE,
        "false_negative_margin": None,
        "distillation": {"weight": 0.0},
        "lora": LORA,
        "shots": {"max": MAX_SHOTS, "share": shape["queries"]},
        "checkpoint_every": 10**6,
    }
    return parse_config(raw, str(source))


def fair_batches(kind: str, work: Path, steps: int) -> tuple[Any, Any]:
    """(parameters, batches) of the first seed whose steps after the warm-up have each number of shots equally often."""
    from components.training.batches import Batches

    data = our_data(kind, work)
    for seed in range(100_000):
        config = our_config(kind, steps, seed)
        batches = Batches(data, config.train, seed)
        numbers = [batches.draw_shot_number(step, 0)[1] for step in range(1, steps + 1)]
        if all(numbers.count(n) == steps // (MAX_SHOTS + 1) for n in range(MAX_SHOTS + 1)):
            return config, batches
    raise SystemExit("error: no seed gives each number of shots equally often; take fewer --steps")


def ours(kind: str, work: Path, steps: int) -> Side:
    """The trainer's own loop, from tokenising to the update."""
    from components.model.backbone import load_tokenizer
    from components.model.prompt import Prompt
    from components.training.train import add_adapter
    from components.training.trainer import Trainer
    from components.training.world import World

    config, batches = fair_batches(kind, work, steps)
    tokenizer = load_tokenizer(work / "model", config.prompt)
    model = add_adapter(work / "model", tokenizer, config)
    prompt = Prompt(tokenizer, config.prompt)
    Trainer(model, prompt, batches.data, config, work / kind, Turns(), World()).fit()
    return iter(())


def st(kind: str, work: Path, steps: int) -> Side:
    """sentence-transformers: MultipleNegativesRankingLoss, the shots pasted in front of each query."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.losses.merged_forward import column_merging_disabled
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    from components.model.backbone import load_tokenizer
    from components.model.prompt import Prompt

    config, batches = fair_batches(kind, work, steps)
    prompt = Prompt(load_tokenizer(work / "model", config.prompt), config.prompt)
    transformer = Transformer(str(work / "model"), max_seq_length=2048)
    width = transformer.get_embedding_dimension()
    model: Any = SentenceTransformer(modules=[transformer, Pooling(width, "lasttoken"), Normalize()], device="cpu")
    model.add_adapter(lora_config())
    model.train()

    def texts(batch: Any) -> list[list[str]]:
        head = prompt.prefix_text(INSTRUCTION, batch.shots[0])
        wrap = prompt.prefix_text(INSTRUCTION) if batch.task.symmetric else ""
        tail = prompt.tail_text if batch.task.symmetric else ""
        place = batch.targets.group.T.tolist()  # [1 + negatives, B]
        columns = [[wrap + batch.document_texts[j] + tail for j in column] for column in place]
        return [[head + text + prompt.tail_text for text in batch.query_texts], *columns]

    loss = MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)

    def forward(batch: Any, merge: bool) -> tuple[Any, int]:
        features = [model.preprocess(column) for column in texts(batch)]
        with nullcontext() if merge else column_merging_disabled():
            return loss(features, None), sum(int(f["attention_mask"].sum()) for f in features)

    yield from best_of(
        {"columns merged": lambda batch: forward(batch, True), "columns apart": lambda batch: forward(batch, False)},
        [batches[step] for step in range(steps + 1)],
        model,
        f"sentence-transformers {version('sentence-transformers')}",
    )


def fe(kind: str, work: Path, steps: int) -> Side:
    """FlagEmbedding's data set, collator and ICL model, with its arguments as bge-en-icl gives them."""
    from FlagEmbedding.finetune.embedder.decoder_only.icl.arguments import (
        DecoderOnlyEmbedderICLDataArguments,
    )
    from FlagEmbedding.finetune.embedder.decoder_only.icl.dataset import (
        AbsEmbedderSameDatasetCollator,
        DecoderOnlyEmbedderICLSameDatasetTrainDataset,
    )
    from FlagEmbedding.finetune.embedder.decoder_only.icl.modeling import (
        BiDecoderOnlyEmbedderICLModel,
    )
    from peft import get_peft_model
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work / "model", padding_side="left")
    shape = KINDS[kind]
    arguments = DecoderOnlyEmbedderICLDataArguments(
        train_data=[str(work / f"{kind}.jsonl")],
        cache_path=str(work / "cache"),
        train_group_size=1 + shape["negatives"],
        query_max_len=2048,
        passage_max_len=512,
        example_query_max_len=256,
        example_passage_max_len=256,
        query_instruction_format="<instruct>{}\n<query>{}",
        icl_suffix_str="\n<response>",
        same_dataset_within_batch=True,
    )
    size = shape["queries"] * (2 if kind == "symmetric" else 1)  # it halves the batch of symmetric data
    data = DecoderOnlyEmbedderICLSameDatasetTrainDataset(arguments, size, 0, tokenizer)
    backbone = AutoModel.from_pretrained(work / "model")
    backbone.config.use_cache = False
    model = BiDecoderOnlyEmbedderICLModel(
        get_peft_model(backbone, lora_config()),
        tokenizer=tokenizer,
        temperature=TEMPERATURE,
        sentence_pooling_method="last_token",
        normalize_embeddings=True,
    ).train()

    def forward(_: Any, sub_batch: int) -> tuple[Any, int]:
        model.sub_batch_size = sub_batch
        collate = AbsEmbedderSameDatasetCollator(
            tokenizer=tokenizer, query_max_len=2048, passage_max_len=512, sub_batch_size=sub_batch
        )
        inputs = collate([data[0]])  # its data set walks on by itself
        parts = [inputs["queries"], inputs["passages"]]
        every = [part for side in parts for part in (side if isinstance(side, list) else [side])]
        return model(**inputs).loss, sum(int(part["attention_mask"].sum()) for part in every)

    yield from best_of(
        {"batch whole": lambda batch: forward(batch, -1), "sub-batches of 8": lambda batch: forward(batch, 8)},
        [None] * (steps + 1),
        model,
        f"FlagEmbedding {version('FlagEmbedding')}",
    )


def lora_config() -> Any:
    """The adapter of every side."""
    from peft import LoraConfig

    return LoraConfig(
        r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=LORA["dropout"], target_modules=PROJECTIONS
    )


def best_of(settings: dict[str, Callable[[Any], tuple[Any, int]]], batches: list[Any], model: Any, name: str) -> Side:
    """Warm up, take each setting's rate over one batch, then step through the others with the best."""
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=RATE)

    def step(forward: Callable[[Any], tuple[Any, int]], batch: Any) -> tuple[float, int]:
        begin = time.perf_counter()
        loss, tokens = forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - begin, tokens

    rates = {}
    for setting, forward in settings.items():
        step(forward, batches[0])
        taken = [step(forward, batches[0]) for _ in range(2)]
        rates[setting] = sum(t for _, t in taken) / sum(s for s, _ in taken)
    best = max(rates, key=lambda setting: rates[setting])
    ready(f"{name}, {best}")
    for batch in batches[1:]:
        yield step(settings[best], batch)
        await_turn()


if __name__ == "__main__":
    take_turns(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
