"""The few-shot training step against FlagEmbedding's ICL trainer and sentence-transformers: useful tokens a second.

    python benchmarks/training_step.py [--quick] [--json FILE] [--steps N] [--threads N] [--flagembedding PYTHON]

One random 4-layer, 512-wide Mistral and one tokenizer, saved once and loaded by every side: LoRA rank 16 on all seven
projections with dropout 0.1, fp32, AdamW, temperature 0.02, InfoNCE over in-batch and hard negatives, a number of
shots uniform over {0..5}. Two kinds of batch:

    symmetric   32 queries of 20-60 tokens, positive and one negative alike, the instruction on both sides
    retrieval   16 queries of 20-60 tokens; positive and three negatives of 30-300 tokens (most are short)

A step is collation, forward, backward and update. Ours is paired with each peer: two processes (three do not fit into
24 GiB) that take a step in turn. Useful tokens: those of every sequence with its own prefix, without padding. Shots of
FlagEmbedding are drawn by its own code, for each query; ours and sentence-transformers' have one set a batch, and the
steps of both have each number of shots equally often. sentence-transformers gets the shots pasted before its texts.

Ours has rows of 4,096 tokens, as recipes/mistral-7b.yaml has them. Peers at their best: torch's SDPA, the better of
whole batches and sub-batches of 8 in FlagEmbedding and the better of all columns in one forward and a forward for each
in sentence-transformers, measured first; the allocator keeps freed memory on every side; their Trainer's own overhead
is left out, ours is in. FlagEmbedding runs in the Python of an environment that has it (--flagembedding); without the
option that side is reported as not run.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

INSTRUCTION = "find the text that tells of the same matter"
SPECIAL = ["<instruct>", "<query>", "<response>"]
MAX_SHOTS, TEMPERATURE, RATE = 5, 0.02, 1e-4
LORA: dict[str, Any] = {"rank": 16, "alpha": 32, "dropout": 0.1}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, int]] = {
    "symmetric": {"queries": 32, "negatives": 1, "longest": 60},
    "retrieval": {"queries": 16, "negatives": 3, "longest": 300},
}
Side = Iterator[tuple[float, int]]  # of each step: seconds, useful tokens


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=MAX_SHOTS + 1, help="a multiple of 6: each number of shots once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flagembedding", type=Path, help="Python of an environment that has FlagEmbedding 1.4")
    given = parser.parse_args()
    if given.steps % (MAX_SHOTS + 1):
        parser.error(f"--steps {given.steps}: not a multiple of {MAX_SHOTS + 1}")
    peers = {"sentence_transformers": sys.executable}
    if given.flagembedding:
        peers["flagembedding"] = str(given.flagembedding)
    figures: dict[str, float] = {}
    print(f"{given.steps} steps a side, {given.threads} threads, {platform.processor() or platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model", *((2, 64) if given.quick else (4, 512)))
        for kind in KINDS:
            write_texts(work / f"{kind}.jsonl", kind, given.steps, given.quick)
            for peer, python in peers.items():
                figures |= measure(kind, peer, python, work, given.steps, given.threads)
    if not given.flagembedding:
        print("  flagembedding: not run (give --flagembedding PYTHON)")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(kind: str, peer: str, python: str, work: Path, steps: int, threads: int) -> dict[str, float]:
    """One kind of batch, ours and a peer that runs in `python`: both rates, and ours over the peer's."""
    sides = {
        name: subprocess.Popen(
            [executable, __file__, "--side", name, kind, str(work), str(steps), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "GOMP_SPINCOUNT": "1000"},
        )
        for name, executable in {"ours": sys.executable, peer: python}.items()
    }
    try:
        versions = {name: told(side)[1] for name, side in sides.items()}  # ready: loaded and warmed up
        steps_of: dict[str, list[tuple[float, int]]] = {name: [] for name in sides}
        for _ in range(steps):
            for name, side in sides.items():
                assert side.stdin is not None
                side.stdin.write("go\n")
                side.stdin.flush()
                seconds, tokens = told(side)
                steps_of[name].append((float(seconds), int(tokens)))
    finally:
        for side in sides.values():
            side.kill()
            side.wait()
    rates = {name: sum(t for _, t in taken) / sum(s for s, _ in taken) for name, taken in steps_of.items()}
    print(f"{kind}: useful tokens/s (over all steps), seconds of a step: median, least and most")
    for name, taken in steps_of.items():
        seconds_of = [s for s, _ in taken]
        spread = f"{statistics.median(seconds_of):.2f} [{min(seconds_of):.2f}, {max(seconds_of):.2f}]"
        useful = sum(t for _, t in taken) / steps
        ratio = rates["ours"] / rates[name]
        print(
            f"  {name:22} {versions[name]:28} {rates[name]:9.0f} tokens/s  {spread:22} s  {useful:7.0f} useful tokens "
            f"a step  ours: {ratio:.2f}x"
        )
    return {
        f"vs_{peer}_{kind}": rates["ours"] / rates[peer],
        f"{peer}_{kind}_useful_tokens_per_second": rates[peer],
        f"ours_beside_{peer}_{kind}_useful_tokens_per_second": rates["ours"],
    }


def told(side: "subprocess.Popen[str]") -> list[str]:
    """The next line that side prints for us, after `figures`; stops when the side has ended."""
    assert side.stdout is not None
    for line in side.stdout:
        if line.startswith("figures\t"):
            return line.rstrip("\n").split("\t")[1:]
    raise SystemExit("error: a side has ended; its error stands above")


# ---------------------------------------------------------------- what every side is given


def write_model(folder: Path, layers: int, width: int) -> None:
    """A random Mistral with a byte-level BPE tokenizer learnt on the made-up words, the three prompt tokens in it."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from components.data.random_model import write_random_mistral

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    named = ["<unk>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=8000, special_tokens=named, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([" ".join(words()), INSTRUCTION], learn)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL], special_tokens=True)
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # transformers 4, which FlagEmbedding needs, knows the class by this name
    named_class = json.loads(config.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.write_text(json.dumps(named_class), encoding="utf-8")
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": width * 7 // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    }
    write_random_mistral(folder, shape, 0, torch.float32)


def words() -> list[str]:
    """3,000 made-up words."""
    draw = random.Random(0)
    parts = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return ["".join(draw.choices(parts, k=draw.randint(2, 3))) for _ in range(3000)]


def write_texts(path: Path, kind: str, steps: int, quick: bool) -> None:
    """Queries with a positive and negatives, in the form FlagEmbedding reads: twice what the measured steps need."""
    shape, draw, known = KINDS[kind], random.Random(1), words()

    def text(longest: int) -> str:
        length = draw.randint(20, 60) if longest == 60 else int(min(longest, 30 + draw.expovariate(1 / 80)))
        return " ".join(draw.choices(known, k=length // (4 if quick else 1)))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(2 * steps * shape["queries"]):
            row = {
                "query": text(60),
                "pos": [text(shape["longest"])],
                "neg": [text(shape["longest"]) for _ in range(shape["negatives"])],
                "prompt": INSTRUCTION,
                "type": "symmetric_sts" if kind == "symmetric" else "normal",
            }
            file.write(json.dumps(row) + "\n")


# ---------------------------------------------------------------- the sides, each in a process of its own


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
    from components.contracts.tasks import Task
    from components.training.examples import Example, TrainingData

    rows = [json.loads(line) for line in (work / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()]
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    examples = []
    for i, row in enumerate(rows):
        queries[f"q{i}"] = row["query"]
        ids = [f"d{i}-{j}" for j in range(1 + len(row["neg"]))]
        documents |= dict(zip(ids, [*row["pos"], *row["neg"]], strict=True))
        examples.append(Example(f"q{i}", ids[0], 1.0, tuple(ids[1:]), (0.0,) * len(row["neg"])))
    task = Task(kind, "retrieval", INSTRUCTION, kind == "symmetric", 1.0, "none", "random")
    return TrainingData(
        tasks={kind: task},
        examples={kind: examples},
        query_text=queries,
        document_text=documents,
        query_label={},
        document_label={},
        relevant={},
        grades={},
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
        "row_tokens": 4096,
        "negatives": shape["negatives"],
        "learning_rate": RATE,
        "temperature": TEMPERATURE,
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
        numbers = [batches.shot_number(step, 0) for step in range(1, steps + 1)]
        if all(numbers.count(n) == steps // (MAX_SHOTS + 1) for n in range(MAX_SHOTS + 1)):
            return config, batches
    raise SystemExit("error: no seed gives each number of shots equally often; take fewer --steps")


def ours(kind: str, work: Path, steps: int) -> Side:
    """The trainer's own loop, from tokenising to the update."""
    from components.model.backbone import load_tokenizer
    from components.model.prompt import Prompt
    from components.training.train import adapted
    from components.training.trainer import Trainer
    from components.training.world import World

    config, batches = fair_batches(kind, work, steps)
    tokenizer = load_tokenizer(work / "model", config.prompt)
    model = adapted(work / "model", tokenizer, config)
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
    if sys.argv[1:2] == ["--side"]:
        take_turns(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
