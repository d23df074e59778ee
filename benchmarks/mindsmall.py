"""MindSmallReranking by index against plain mteb: a task of MindSmall's shape at 1/50 scale, with a real encoder.

    python -m benchmarks.mindsmall [--quick] [--json FILE] [--model FOLDER]

MindSmall has 2,362,514 queries, 37,162 of them distinct (articles of users' histories), 5,277 documents and 32 queries
an impression. Plain is `mteb.evaluate(SentenceTransformer, MindSmallReranking)`; ours is `FoundryModel` on
`IndexedMindSmall`. Same data, same model, one process, ours and plain in turn. The model is the starter's
all-MiniLM-L6-v2 (outputs/fetch/models/dense_teacher after `make run`).
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FULL = {"queries": 2_362_514, "distinct": 37_162, "documents": 5_277, "per_impression": 32, "candidates": 37}
WORDS = 12  # MindSmall's texts are headlines of 69 characters on average


def write_data(folder: Path, scale: float) -> dict[str, int]:
    """Generated data in the real repository's layout; returns its sizes."""
    from tests.benchmark.standins import write_data_set

    random = np.random.default_rng(0)
    sizes = {name: max(40, round(FULL[name] * scale)) for name in ("distinct", "documents")}
    impressions = round(FULL["queries"] * scale / FULL["per_impression"])
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), random.integers(3, 8))) for _ in range(2_000)]

    def headline(topic: int) -> str:
        own = random.integers(0, 20, WORDS) + 20 * topic
        picked = np.where(random.random(WORDS) < 0.4, own, random.integers(1_000, 2_000, WORDS))
        return " ".join(words[i] for i in picked)

    articles = [headline(i % 50) for i in range(sizes["distinct"])]
    documents = [headline(i % 50) for i in range(sizes["documents"])]
    ids, texts, candidates, qrels = [], [], [], []
    few = min(FULL["candidates"], sizes["documents"] - 1)
    for impression in range(impressions):
        read = np.minimum(random.zipf(1.3, FULL["per_impression"]) - 1, sizes["distinct"] - 1)
        shown = random.choice(sizes["documents"], few, replace=False)
        for number, article in enumerate(read):
            ids.append(f"{impression}_{number}")
            texts.append(articles[article])
            candidates.append([f"d{row}" for row in shown])
            qrels.append((ids[-1], f"d{shown[0]}"))
    names = [f"d{i}" for i in range(len(documents))]
    judged = {"query-id": [q for q, _ in qrels], "corpus-id": [d for _, d in qrels], "score": [1] * len(qrels)}
    write_data_set(
        folder,
        {
            "corpus": {"test": {"_id": names, "title": [""] * len(names), "text": documents}},
            "queries": {"test": {"_id": ids, "text": texts}},
            "default": {"test": judged},
            "top_ranked": {"test": {"query-id": ids, "corpus-ids": candidates}},
        },
    )
    return {"queries": len(ids), "distinct": len(set(texts)), "documents": len(names), "impressions": impressions}


class Timed:
    """Adds up what the calls of one method take."""

    def __init__(self, method: Any) -> None:
        self.method, self.seconds = method, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = self.method(*args, **kwargs)
        if str(kwargs.get("prompt_type", args[-1])).endswith("query"):
            self.seconds += time.perf_counter() - start
        return result


def measure(model: Any, task: Any, timed: Timed) -> dict[str, float]:
    """Wall and CPU seconds of the whole task (loading and scoring too), of query encoding, and the score."""
    import mteb

    wall, cpu = time.perf_counter(), time.process_time()
    found = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return {
        "task": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "queries": timed.seconds,
        "score": found.task_results[0].get_score(),
    }


def plain(model: Any, mirror: Path) -> dict[str, float]:
    """mteb's own class, loader and wrapper."""
    import mteb
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    wrapper = SentenceTransformerEncoderWrapper(model)
    timed = Timed(wrapper.encode)
    wrapper.encode = timed  # type: ignore[method-assign]  # to time it
    task = mteb.get_task("MindSmallReranking")
    where = {**task.metadata.dataset, "path": str(mirror / task.metadata.dataset["path"])}
    task.metadata = task.metadata.model_copy(update={"dataset": where})
    return measure(wrapper, task, timed)


def ours(model: Any, mirror: Path) -> dict[str, float]:
    """Index-based task and search; no vector store, so that nothing is carried from run to run."""
    from components.benchmark.adapter import FoundryModel
    from components.benchmark.tasks import mteb_task
    from components.contracts.shots import TaskPrompt
    from components.model.sentence_model import SentenceModel

    foundry = FoundryModel("mini", SentenceModel(model, "mini"), {"MindSmallReranking": TaskPrompt("")}, {})
    timed = Timed(foundry.embed)
    foundry.embed = timed  # type: ignore[method-assign]  # to time it
    return measure(foundry, mteb_task("MindSmallReranking", mirror), timed)


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1/2000 scale, to see that it works; not the claim")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", type=Path, default=Path("outputs/fetch/models/dense_teacher"))
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    if not given.model.is_dir():
        raise SystemExit(f"error: {given.model}: no model; run `make run` first, or name one with --model")
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(given.model), device="cpu", local_files_only=True)
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as scratch:
        import datasets

        datasets.config.HF_DATASETS_CACHE = Path(scratch) / "cache"
        mirror = Path(scratch) / "mirror"
        sizes = write_data(mirror / "mteb" / "MindSmallReranking", 1 / 2000 if given.quick else 1 / 50)
        for _ in range(given.repeats):
            runs["ours"].append(ours(model, mirror))
            runs["plain"].append(plain(model, mirror))
    _report(runs, sizes, given.json)


def _report(runs: dict[str, list[dict[str, float]]], sizes: dict[str, int], target: Path | None) -> None:
    middle = {
        side: {key: float(np.median([run[key] for run in found])) for key in found[0]} for side, found in runs.items()
    }
    print(f"{sizes} | mteb {version('mteb')} | {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for side, values in middle.items():
        spread = max(run["task"] for run in runs[side]) - min(run["task"] for run in runs[side])
        print(
            f"{side:6} query encoding {values['queries']:8.2f} s   task {values['task']:8.2f} s (spread {spread:.2f})"
            f"   CPU {values['cpu']:8.2f} s   score {values['score']:.6f}"
        )
    figures = {
        "query_encoding_speedup": middle["plain"]["queries"] / middle["ours"]["queries"],
        "task_speedup": middle["plain"]["task"] / middle["ours"]["task"],
        "task_cpu_ratio": middle["plain"]["cpu"] / middle["ours"]["cpu"],
        "score_diff": abs(middle["plain"]["score"] - middle["ours"]["score"]),
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    for name, value in figures.items():
        print(f"{name}: {value:.6g}")
    if target:
        target.write_text(json.dumps({**figures, **sizes}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
