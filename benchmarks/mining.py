"""Mining against sentence-transformers' and FlagEmbedding's miners: same vectors, same corpus, same rule where shared.

    python -m benchmarks.mining [--quick] [--json FILE] [--outputs DIR] [--repeats N] [--rescored N]
                                [--flagembedding PYTHON --hn-mine FILE]

2,000 queries x 100,000 documents (sentences of the starter's sources, encoded once by all-MiniLM-L6-v2 into .cache/;
all sides read the same vectors). Measured after encoding: search, rule (relative margin 0.95, 7 negatives of 100
candidates) and the mined table with its texts (ours: triplets and rejections as Parquet files; sentence-transformers: a
Dataset in memory; FlagEmbedding: a JSONL file). With a cross-encoder (MiniLM's weights with a random head: the time is
real, the order is not) the candidates of the first --rescored queries are scored again; both sides in fp32 and in bf16,
sentence-transformers also with several batch sizes (ours is bounded by tokens), and the ratio is between the fastest of
each. Sides take turns; handing out the vectors is in nobody's time.

FlagEmbedding's side runs `find_knn_neg` of its own scripts/hn_mine.py (--hn-mine: the file is in the repository
FlagOpen/FlagEmbedding, v1.4.0, not in the wheel) in a process of the Python of another environment (--flagembedding),
with FlagEmbedding and faiss-cpu installed. hn_mine knows no margin: it samples from the ranks, so its set can't be
compared. Without the two options that side is reported as not run.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.mining_sides import BUDGET, THEIR_BATCHES, Data, flagembedding_miner, ours, sentence_transformers_miner
from components.base.threads import worker_count
from components.model.backbone import DTYPES
from components.teacher.cross_encoder import CrossEncoderTeacher


def make_cross_encoder(models: Path, folder: Path) -> Path:
    """MiniLM's body with one random logit, as a reranker that both sides can load."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    from components.model.locate import locate_model

    torch.manual_seed(0)
    body = locate_model(models / "dense_teacher")
    BertForSequenceClassification.from_pretrained(body, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(body).save_pretrained(folder)
    return folder


def their_rerankers(device: str) -> dict[str, tuple[str, int]]:
    """Precision and batch size of each of sentence-transformers' sides; the first has its default of 32 and fp32."""
    fast = {f"sentence_transformers_bf16_{batch}": ("bf16", batch) for batch in THEIR_BATCHES[device]}
    return {"sentence_transformers": ("fp32", 32), **fast}


def alternate(sides: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every run (printed as they come), and the last result, by side; in turn, `repeats` times.

    A side that returns a number measured its own seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                results[name] = run()
            took = results[name] if isinstance(results[name], float) else time.perf_counter() - start
            seconds[name].append(took)
            print(f"  {took:8.2f} s  {name}, load {os.getloadavg()[0]:.1f}", flush=True)
    return seconds, results


def same_share(a: dict[int, set[int]], b: dict[int, set[int]]) -> float:
    """Share of (query, negative) pairs that both sides kept, of those that either kept."""
    both = sum(len(a.get(q, set()) & b.get(q, set())) for q in {*a, *b})
    return both / max(1, sum(len(a.get(q, set()) | b.get(q, set())) for q in {*a, *b}))


def main() -> None:
    """Set up both sides, alternate, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="after `dvc repro prepare`")
    parser.add_argument("--flagembedding", type=Path, help="Python of an environment with FlagEmbedding and faiss-cpu")
    parser.add_argument("--hn-mine", type=Path, help="scripts/hn_mine.py of FlagEmbedding's repository")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rescored", type=int, default=100, help="queries of the part with a cross-encoder")
    given = parser.parse_args()
    if (given.flagembedding is None) != (given.hn_mine is None):
        parser.error("--flagembedding and --hn-mine go together")
    threads = worker_count(0)
    queries, documents, rescored, repeats = (
        (50, 1000, 10, 2) if given.quick else (2000, 100_000, given.rescored, given.repeats)
    )
    data = Data(given.outputs, Path(".cache"), queries, documents, threads)

    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from components.model.locate import locate_model

    models = given.outputs / "fetch" / "models"
    model = SentenceTransformer(str(locate_model(models / "dense_teacher")), device="cpu")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        sides: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(data, threads, None, folder),
            "sentence_transformers": sentence_transformers_miner(data, model, None),
        }
        if given.flagembedding:
            miner = flagembedding_miner(data, given.flagembedding, given.hn_mine, folder)
            sides["flagembedding"] = stack.enter_context(miner)
        seconds, results = alternate(sides, repeats)
        few = subset(data, rescored)
        body = make_cross_encoder(models, folder / "reranker")
        teacher = CrossEncoderTeacher.load(folder, "reranker", 128, BUDGET)
        plain = CrossEncoderTeacher.load(folder, "reranker", 128, BUDGET, torch.float32)
        device = teacher.model.device.type  # theirs gets the same
        rescoring: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(few, threads, teacher, folder),
            "ours_fp32": lambda: ours(few, threads, plain, folder),
        }
        for name, (precision, batch) in their_rerankers(device).items():
            # raw logits, as ours: after the default sigmoid a relative margin would be another rule
            theirs = CrossEncoder(
                str(body),
                device=device,
                max_length=128,
                activation_fn=torch.nn.Identity(),
                model_kwargs={"dtype": DTYPES[precision]},
            )
            rescoring[name] = sentence_transformers_miner(few, model, theirs, batch)
        again, reranked = alternate(rescoring, 1 if given.quick else min(5, repeats))
    figures = {
        **ratios(seconds, ""),
        **ratios(again, "_reranked"),
        "vs_sentence_transformers_reranked": best_against_best(again),
        "same_kept_set": same_share(results["ours"], results["sentence_transformers"]),
        "same_kept_set_reranked": same_share(reranked["ours_fp32"], reranked["sentence_transformers"]),
        "same_kept_set_reranked_bf16": same_share(reranked["ours"], reranked["sentence_transformers"]),
        "queries": queries,
        "queries_reranked": rescored,
        "documents": documents,
        "threads": threads,
        "load_average": os.getloadavg()[0],
    }
    show(figures, given.flagembedding is not None)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def subset(data: Data, queries: int) -> Data:
    """The first queries only, over the whole corpus."""
    few = object.__new__(Data)
    few.documents, few.queries = data.documents, data.queries[:queries]
    few.vectors = {"documents": data.vectors["documents"], "queries": data.vectors["queries"][:queries]}
    return few


def ratios(seconds: dict[str, list[float]], suffix: str) -> dict[str, float]:
    """Median seconds and spread of each side, and the median of the paired ratios against ours."""
    figures = {}
    for name, runs in seconds.items():
        figures[f"{name}{suffix}_seconds"] = statistics.median(runs)
        figures[f"{name}{suffix}_spread"] = max(runs) - min(runs)
        if name != "ours":
            paired = [theirs / own for theirs, own in zip(runs, seconds["ours"], strict=True)]
            figures[f"vs_{name}{suffix}"] = statistics.median(paired)
    return figures


def best_against_best(seconds: dict[str, list[float]]) -> float:
    """Median over the turns of their fastest side over our faster precision."""
    turns = [dict(zip(seconds, turn, strict=True)) for turn in zip(*seconds.values(), strict=True)]
    fastest = [
        [min(took for name, took in turn.items() if name.startswith(side)) for side in ("sentence", "ours")]
        for turn in turns
    ]
    return statistics.median(theirs / own for theirs, own in fastest)


def show(figures: dict[str, Any], with_flagembedding: bool) -> None:
    """The table."""
    library = f"sentence-transformers {version('sentence-transformers')}"
    against = {
        "sentence_transformers": library,
        **{
            name: f"{library}, cross-encoder in {precision}, batches of {batch}"
            for device in THEIR_BATCHES
            for name, (precision, batch) in their_rerankers(device).items()
            if name != "sentence_transformers"
        },
        "flagembedding": "FlagEmbedding scripts/hn_mine.py",
    }
    machine = f"{figures['threads']} threads, {platform.machine()}, load {figures['load_average']:.1f}"
    print(f"{figures['queries']:,} queries x {figures['documents']:,} documents, {machine}")
    for suffix, what in (("", "mining"), ("_reranked", f"with a cross-encoder, {figures['queries_reranked']} queries")):
        print(what)
        for name, label in {"ours": "ours", "ours_fp32": "ours, cross-encoder in fp32", **against}.items():
            if f"{name}{suffix}_seconds" in figures:
                took, spread = figures[f"{name}{suffix}_seconds"], figures[f"{name}{suffix}_spread"]
                ratio = "" if name == "ours" else f": {took / figures[f'ours{suffix}_seconds']:.2f} x ours"
                print(f"  {took:8.2f} s (spread {spread:.2f})  {label}{ratio}")
    if not with_flagembedding:
        print("FlagEmbedding: not run (pass --flagembedding PYTHON and --hn-mine FILE)")
    fastest = figures["vs_sentence_transformers_reranked"]
    print(f"with a cross-encoder, the fastest of each: {fastest:.2f} x ours")
    print(f"same kept set: {figures['same_kept_set']:.4f}; reranked: {figures['same_kept_set_reranked']:.4f}")


if __name__ == "__main__":
    main()
