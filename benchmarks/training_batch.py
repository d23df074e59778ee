"""What a full-size step needs from the host: one batch of 512 queries with 7 hard negatives each, drawn and packed.

    python -m benchmarks.training_batch [--quick] [--json FILE] [--steps N] [--tokenizer FOLDER]

500,000 examples of one retrieval task: queries of 8 to 16 words, documents of 60 to 140, 15 mined negatives, up to 5
shots for 16 queries. One thread. CPU seconds of a step, by part: `batch` (draws, texts, shots, masks), `ids` (those of
its texts gathered, those of its few-shot prefixes made) and `pack` (the rows that are copied to a card), with the
tokenizer of a model's folder, or bytes as tokens without one; once, `all_ids`: the ids of every text that is read; and
by how much the process grows.
"""

import argparse
import json
import random
import re
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from components.config import parse_config
from components.contracts.tasks import Task
from components.contracts.texts import Texts, write_texts
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.training.batches import Batches
from components.training.examples import Examples, TrainingData
from components.training.judgements import Judgements
from components.training.rows import pack_rows
from components.training.token_ids import TrainingTokens
from components.training.world import World
from tests.models import make_tiny_student
from tests.samples import small_parameters

MINED = 15
DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--examples", type=int, default=500_000)
    parser.add_argument("--tokenizer", type=Path, help="folder of a fetched model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        examples, steps = (5_000, 1) if given.quick else (given.examples, given.steps)
        figures = measure(Path(folder), examples, steps, given.tokenizer)
    for name, value in figures.items():
        print(f"{name:28} {value:.3f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(work: Path, examples: int, steps: int, tokenizer: Path | None) -> dict[str, float]:
    """Median CPU seconds of a step's parts, after one step that warms up."""
    write_training_texts(work, examples)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = training_data(work, examples)
    full = {"steps": steps + 1, "batch_queries": 512, "alpha": 0.5, "phases": [], "merge": None}
    full |= {"negatives": 7, "row_tokens": 4096}
    lengths = {"prompt.query_tokens": 512, "prompt.document_tokens": 512, "prompt.prefix_tokens": 1536}
    train = {**full, "learning_rate": 1e-4, "shots": {"max": 5, "share": 16}}
    config = parse_config(small_parameters(train=train, **lengths), "training_batch")
    prompt = Prompt(load_tokenizer(tokenizer or make_tiny_student(work / "student"), config.prompt), config.prompt)
    batches, world = Batches(data, config.train, seed=0), World()
    begin = time.process_time()
    tokens = TrainingTokens(data, prompt, work / "cache", world)
    once = time.process_time() - begin
    seconds: dict[str, list[float]] = {"batch": [], "ids": [], "pack": []}
    for step in range(steps + 1):
        begin = time.process_time()
        batch = batches[step]
        drawn = time.process_time()
        ids = tokens.of(batch)
        gathered = time.process_time()
        pack_rows(ids, config.train.row_tokens, config.encoder, world, join=True)  # as for a card
        if step:
            for name, took in zip(seconds, np.diff([begin, drawn, gathered, time.process_time()]), strict=True):
                seconds[name].append(float(took))
    held = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    parts = {f"{name}_seconds": statistics.median(took) for name, took in seconds.items()}
    return parts | {"step_seconds": sum(parts.values()), "all_ids_seconds": once, "peak_growth_gib": held}


def write_training_texts(work: Path, examples: int) -> None:
    """Random words of the documentation, as many as said above, for each query and each document."""
    draw = random.Random(0)
    words = re.findall("[A-Za-z]+", "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))))
    for name, shortest, longest in (("queries", 8, 16), ("documents", 60, 140)):
        texts = (" ".join(draw.choices(words, k=draw.randint(shortest, longest))) for _ in range(examples))
        write_texts(texts, work / f"{name}.arrow")


def training_data(work: Path, examples: int) -> TrainingData:
    """Example i: query i, positive i, MINED random documents."""
    rows = np.arange(examples, dtype=np.uint32)
    draw = np.random.default_rng(0)
    return TrainingData(
        tasks={"task": Task("task", "retrieval", "Find the passage.", False, 1.0, "none", "random")},
        examples={
            "task": Examples(
                query=rows,
                positive=rows,
                positive_score=np.ones(examples),
                starts=np.arange(examples + 1, dtype=np.int64) * MINED,
                weight=np.ones(examples),
                negatives=draw.integers(0, examples, examples * MINED, dtype=np.uint32),
                negative_scores=draw.random(examples * MINED),
            )
        },
        query_text=Texts(work / "queries.arrow"),
        document_text=Texts(work / "documents.arrow"),
        query_label=np.full(examples, -1, dtype=np.int32),
        document_label=np.full(examples, -1, dtype=np.int32),
        labels=[],
        judgements=Judgements(rows, rows, np.ones(examples)),
        dev_queries={},
        dev_documents={},
    )


if __name__ == "__main__":
    main()
