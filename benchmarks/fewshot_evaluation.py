"""Few-shot evaluation of the 31 non-retrieval tasks of MTEB(eng, v2): tokens and CPU time against plain mteb.

    python -m benchmarks.fewshot_evaluation [--quick] [--json FILE]

Stand-in data with each task's true mean text length, true share of duplicates and true few-shot prefix length
(components/plan/task_sizes.csv), at a small number of rows. One randomly initialised Mistral, fp32, on
both sides. Plain: mteb's own classes and search around an encoder that does what every public harness does: each text
behind its own copy of the prefix, sorted by length, padded, in batches of 32. Ours: plan, store, packed shared prefix.
CPU time is that of encoding; the scores are compared over whole tasks. Then a second prompt table is evaluated on two
retrieval tasks: how many document tokens does it embed again? At the end, the hours of a 7B model, as `make plan`
counts them.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from components.benchmark.adapter import FoundryModel
from components.benchmark.tasks import ENGLISH, mteb_task, name_sides, scope
from components.config import EncoderParams, PromptParams, benchmark_tasks
from components.contracts.shots import TaskPrompt
from components.evaluation.planner import Lengths, plan_embedding
from components.model.embed_shard import embed
from components.model.encoder import Encoder
from components.model.prompt import Shot
from components.plan.devices import EFFICIENCY, GPUS
from components.plan.shapes import KNOWN
from components.plan.stages import MTEB_SIZES, Cost
from tests.benchmark.standins import Shape, write_standins

PROMPT = PromptParams(template="special")
RETRIEVAL = ("ArguAna", "SCIDOCS")
RETRIEVAL_QUERIES = 0.45  # million tokens of the 8,820 queries of the ten retrieval tasks (mteb's descriptive_stats)
MISTRAL = "mistralai/Mistral-7B-v0.1"


def write_student(folder: Path, texts: Sequence[str], layers: int, width: int) -> Path:
    """A random Mistral with a byte-pair tokenizer trained on `texts`: about four characters a token, as real ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from components.data.random_model import write_random_mistral

    pairs = Tokenizer(models.BPE(unk_token="<unk>"))
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2_000,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pairs, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    write_random_mistral(folder, shape, 0, torch.float32)
    return folder


class PlainEncoder:
    """The same weights the usual way: every text with its own prefix, padded batches of 32, nothing remembered."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel

        from components.model.backbone import grow_embeddings, load_tokenizer
        from components.model.prompt import Prompt

        tokenizer = load_tokenizer(folder, PROMPT)
        self.prompt = Prompt(tokenizer, PROMPT)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
        grow_embeddings(self.model, tokenizer)
        self.identity, self.dimension = "plain", int(self.model.config.hidden_size)
        self.tokens = 0
        self.cpu = 0.0

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        prefix = self.prompt.prefix_ids(instruction, shots)
        return self._encode([prefix + ids for ids in self.prompt.query_ids(texts, len(prefix))])

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(self.prompt.document_ids(texts))

    def _encode(self, sequences: list[list[int]]) -> np.ndarray:
        start = time.process_time()
        vectors = np.empty((len(sequences), self.dimension), dtype=np.float32)
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        for first in range(0, len(order), 32):
            members = order[first : first + 32]
            longest = len(sequences[members[0]])
            ids = torch.full((len(members), longest), self.prompt.eos)
            mask = torch.zeros((len(members), longest), dtype=torch.long)
            for row, i in enumerate(members):
                ids[row, : len(sequences[i])] = torch.tensor(sequences[i])
                mask[row, : len(sequences[i])] = 1
            with torch.inference_mode():
                hidden = self.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = hidden[torch.arange(len(members)), mask.sum(dim=1) - 1].float()
            vectors[members] = torch.nn.functional.normalize(last, dim=-1).numpy()
            self.tokens += int(mask.sum())
        self.cpu += time.process_time() - start
        return vectors


class PlainModel:
    """What mteb sees on the plain side: an encoder without a search of its own."""

    def __init__(self, foundry: FoundryModel) -> None:
        self.foundry, self.mteb_model_meta = foundry, foundry.mteb_model_meta
        self.similarity, self.similarity_pairwise = foundry.similarity, foundry.similarity_pairwise

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **kwargs: Any) -> np.ndarray:
        """Vectors of an mteb data loader."""
        texts = [text for batch in inputs for text in batch["text"]]
        return self.foundry.embed(texts, task_metadata, prompt_type)


class TimedEncoder(Encoder):
    """Ours, with the CPU time of encoding and the document tokens counted."""

    cpu = 0.0
    document_tokens = 0

    def encode_queries(self, *args: Any, **kwargs: Any) -> np.ndarray:
        start = time.process_time()
        vectors = super().encode_queries(*args, **kwargs)
        self.cpu += time.process_time() - start
        return vectors

    def encode_documents(self, *args: Any, **kwargs: Any) -> np.ndarray:
        start, tokens = time.process_time(), self.tokens
        vectors = super().encode_documents(*args, **kwargs)
        self.cpu += time.process_time() - start
        self.document_tokens += self.tokens - tokens
        return vectors


def shots_of(texts: list[str], instruction: str, tokens: int, prompt: Any) -> tuple[Shot, ...]:
    """Shots that bring the prefix to about `tokens` tokens; the last one may take it over."""
    shots: list[Shot] = []
    while len(prompt.prefix_ids(instruction, shots)) < min(tokens, PROMPT.prefix_tokens - 2 * PROMPT.example_tokens):
        place = 2 * len(shots) % (len(texts) - 1)
        shots.append(Shot(texts[place], texts[place + 1]))
    return tuple(shots)


def plain_task(name: str, mirror: Path) -> Any:
    """mteb's own class and loader on the stand-ins."""
    import mteb

    task = mteb.get_task(name, **scope(ENGLISH, name))
    where = {**task.metadata.dataset, "path": str(mirror / task.metadata.dataset["path"])}
    task.metadata = task.metadata.model_copy(update={"dataset": where})
    return small(name_sides(task))


def small(task: Any) -> Any:
    """Cheaper k-means, the same on both sides: it is not what is measured."""
    if task.metadata.type == "Clustering":
        task.max_documents_per_cluster = 256
    return task


def run(model: Any, tasks: Iterator[Any]) -> dict[str, float]:
    """Scores by task."""
    import mteb

    options: dict[str, Any] = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    return {task.metadata.name: mteb.evaluate(model, task, **options).task_results[0].get_score() for task in tasks}


def compare(scratch: Path, rows: int, layers: int, width: int, only: int | None) -> dict[str, float]:
    """Both sides over the tasks; the figures."""
    sizes = pl.read_csv(MTEB_SIZES).filter(pl.col("type") != "Retrieval").sort("task")
    sizes = sizes.gather_every(only) if only else sizes
    shapes = {
        row["task"]: Shape(rows, row["characters"], max(0.02, row["distinct"] / row["texts"]))
        for row in sizes.iter_rows(named=True)
    }
    names = list(shapes)
    mirror = write_standins(scratch / "mirror", [*names, *RETRIEVAL], shapes)
    table = benchmark_tasks()
    corpus = _texts_of(mirror)
    student = write_student(
        scratch / "student", [*corpus[:2_000], *(task.instruction for task in table.values())], layers, width
    )
    plain = PlainEncoder(student)
    prompts = {}
    for name, wanted in zip(sizes["task"], sizes["prefix_tokens"], strict=True):
        own = _texts_of(mirror / str(mteb_task(name).metadata.dataset["path"]))[:24]
        instruction = table[name].instruction
        shots = shots_of(own, instruction, wanted, plain.prompt)
        prompts[name] = TaskPrompt(instruction, bool(table[name].symmetric), shots)
    encoder = TimedEncoder.load(student, PROMPT, EncoderParams(device="cpu"), store=scratch / "vectors")
    assert isinstance(encoder, TimedEncoder)
    ours = FoundryModel("ours", encoder, prompts, {})
    makers = {name: partial(mteb_task, name, mirror) for name in names}
    for part in plan_embedding(makers, prompts, Lengths(encoder.prompt)).tasks:
        for shard in part.shards(1024):
            embed(encoder, shard)
    found = run(ours, (small(makers[name]()) for name in names))
    other = PlainModel(FoundryModel("plain", plain, prompts, {}))
    expected = run(other, (plain_task(name, mirror) for name in names))
    worst = max(names, key=lambda name: abs(found[name] - expected[name]))
    unequal = sum(abs(found[name] - expected[name]) > 1e-6 for name in names)
    print(
        f"{len(names)} tasks, {unequal} of them differ by more than 1e-6; most: {worst}, {found[worst]:.7f} and "
        f"{expected[worst]:.7f}"
    )
    return {
        "token_ratio": plain.tokens / encoder.tokens,
        "cpu_ratio": plain.cpu / encoder.cpu,
        "max_score_diff": abs(found[worst] - expected[worst]),
        "plain_tokens": float(plain.tokens),
        "our_tokens": float(encoder.tokens),
        "plain_cpu_seconds": plain.cpu,
        "our_cpu_seconds": encoder.cpu,
        **second_table(encoder, mirror),
    }


def second_table(encoder: TimedEncoder, mirror: Path) -> dict[str, float]:
    """Document tokens embedded for a first prompt table and, over the same weights, for a second one."""
    counts = []
    for instruction in ("Find the answer", "Given a question, retrieve what answers it"):
        encoder.document_tokens = 0
        prompts = {name: TaskPrompt(instruction, shots=(Shot("a", instruction),)) for name in RETRIEVAL}
        run(FoundryModel("ours", encoder, prompts, {}), (mteb_task(name, mirror) for name in RETRIEVAL))
        counts.append(encoder.document_tokens)
    return {"first_document_tokens": float(counts[0]), "reencoded_document_tokens": float(counts[1])}


def hours_of_7b() -> str:
    """Markdown: tokens of all 41 tasks in plain mteb and in ours, and hours at the plan's rate for an H100."""
    sizes = pl.read_csv(MTEB_SIZES)
    total = {column: float(sizes[column].sum()) for column in sizes.columns if column.endswith("_mtok")}
    documents = float(sizes.filter(type="Retrieval")["few_shot_shared_mtok"].sum()) - RETRIEVAL_QUERIES
    tokens = {
        "instructions, plain mteb": total["plain_mtok"],
        "instructions, ours (distinct texts)": total["distinct_mtok"],
        "few-shot, plain mteb": total["few_shot_plain_mtok"],
        "few-shot, ours (distinct, prefix shared)": total["few_shot_shared_mtok"],
        "another prompt table, ours (documents stored)": total["few_shot_shared_mtok"] - documents,
    }
    rows = ["| run | million tokens | 1 H100 | 8 H100s |", "|---|---|---|---|"]
    for run_as, millions in tokens.items():
        cost = Cost("evaluate", 0, 1e6 * millions, 2 * KNOWN[MISTRAL].linear * 1e6 * millions, 0, 0, 0)
        one, eight = (cost.hours(GPUS["H100"], devices, EFFICIENCY) for devices in (1, 8))
        rows.append(f"| {run_as} | {millions:.0f} | {one:.2f} h | {eight:.2f} h |")
    return "\n".join(rows)


def _texts_of(folder: Path) -> list[str]:
    """Every text in the stand-ins below `folder`."""
    texts: list[str] = []
    for path in sorted(folder.rglob("*.parquet")):
        frame = pl.read_parquet(path)
        for column in ("text", "sentence1", "sentences", "sent1"):
            if column in frame.columns:
                values = frame[column]
                texts += (values.explode() if values.dtype.is_nested() else values).to_list()
    return texts


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few tasks on a tiny model; not the claim")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        import datasets

        datasets.config.HF_DATASETS_CACHE = Path(scratch) / "cache"
        figures = compare(Path(scratch), *((12, 2, 32, 6) if given.quick else (60, 4, 256, None)))
    print(f"mteb {version('mteb')}, torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads")
    for name, value in figures.items():
        print(f"{name}: {value:.6g}")
    print("\nMTEB(eng, v2) with Mistral-7B, as the plan counts it:\n\n" + hours_of_7b())
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
