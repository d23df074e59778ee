"""Mining against sentence-transformers' and FlagEmbedding's miners: same vectors, same corpus, same rule where shared.

    python benchmarks/mining.py [--quick] [--json FILE] [--outputs DIR] [--repeats N] [--rescored N]
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
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from components.base.threads import single_threaded, worker_count, workers
from components.config import DenseTeacherParams, EngineParams, MineParams
from components.mining.adaptive import hardest
from components.mining.rules import apply_rules
from components.model.backbone import DTYPES
from components.model.sentence_model import PLAIN
from components.search.exact import exact_search
from components.search.stream import DOCUMENT_BLOCK
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.dense import EmbeddedTexts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEPTH, NEGATIVES, MARGIN = 100, 7, 0.95
SHARD = 512  # pairs a thread takes at once
# batch sizes of sentence-transformers' cross-encoder in bf16, the best of 8 to 128 among them
THEIR_BATCHES = {"cpu": (8, 16, 32), "cuda": (32, 128)}
BUDGET = 32_768  # tokens of our batches on a GPU; on a CPU CrossEncoderTeacher takes fewer
SOURCES = {"boolq": "document", "bbc": "text", "newsgroups": "text", "fiqa": "document"}


class Data:
    """Texts and vectors: query i's positive is documents[i]."""

    def __init__(self, outputs: Path, cache: Path, queries: int, documents: int, threads: int) -> None:
        sentences = list(dict.fromkeys(_sentences(outputs / "fetch" / "sources")))
        if len(sentences) < documents + queries:
            raise SystemExit(
                f"error: {len(sentences)} sentences in {outputs}/fetch/sources, {documents + queries} needed"
            )
        order = np.random.default_rng(0).permutation(len(sentences))
        self.documents = [sentences[i] for i in order[:documents]]
        # a query: the first half of its document's words, so that the document is its positive
        self.queries = [" ".join(text.split()[: max(3, len(text.split()) // 2)]) for text in self.documents[:queries]]
        params = DenseTeacherParams(max_tokens=64)
        embedded = EmbeddedTexts(outputs / "fetch" / "models", "dense_teacher", params, cache)
        embedded.fill({PLAIN: [*self.documents, *self.queries]}, "mining: encode", EngineParams(shard=1024), threads)
        self.vectors = {
            "documents": embedded.all(self.documents, PLAIN),
            "queries": embedded.all(self.queries, PLAIN),
        }


def _sentences(sources: Path) -> Iterator[str]:
    for name in SOURCES:
        frame = pl.read_parquet(sources / f"{name}.parquet")
        column = next(c for c in (SOURCES[name], "document", "text") if c in frame.columns)
        for text in frame[column].to_list():
            for sentence in re.split(r"(?<=[.!?])\s+|(?<=\S{4})\s{2,}", text):
                words = sentence.split()
                for start in range(0, len(words), 30):
                    if len(words[start : start + 30]) >= 8:
                        yield " ".join(words[start : start + 30])


# ---------------------------------------------------------------- the sides; each returns {query: set of negatives}


def ours(data: Data, threads: int, teacher: CrossEncoderTeacher | None, folder: Path) -> dict[int, set[int]]:
    """Search, rules, the hardest kept, the files: the code of the retrieve, score and mine stages."""
    documents, count = data.vectors["documents"], len(data.documents)
    cuts = range(0, count, DOCUMENT_BLOCK)
    hits = exact_search(
        data.vectors["queries"], lambda: (documents[c : c + DOCUMENT_BLOCK] for c in cuts), DEPTH + 1, threads
    )
    queries, found, ranks, scores = hits.pairs()
    own = np.einsum("ij,ij->i", data.vectors["queries"], documents[: len(data.queries)])
    if teacher is not None:
        queries, found = np.append(queries, np.arange(len(own))), np.append(found, np.arange(len(own)))
        ranks = np.append(ranks, np.zeros(len(own), dtype=ranks.dtype))
        scores = _rescored(data, queries, found, threads, teacher)
        own, queries, found, ranks, scores = (
            scores[-len(own) :],
            *(x[: -len(own)] for x in (queries, found, ranks, scores)),
        )
    frame = pl.DataFrame({"query_id": queries, "doc_id": found, "rank": ranks, "score": scores}).filter(
        pl.col("query_id") != pl.col("doc_id")
    )
    facts = frame.with_columns(
        weakest=pl.Series(own[frame["query_id"].to_numpy()]),
        margin=pl.lit(MARGIN),
        same_label=pl.lit(False),
        same_as_query=pl.lit(False),
        duplicate=pl.lit(None, pl.Float64),
    )
    judged = apply_rules(facts, MineParams(margin=MARGIN))
    kept = hardest(judged, NEGATIVES)
    grouped = kept.group_by("query_id", maintain_order=True).agg("doc_id")
    _write(data, kept, judged, folder)
    return {query: set(ids) for query, ids in grouped.iter_rows()}


def _write(data: Data, kept: pl.DataFrame, judged: pl.DataFrame, folder: Path) -> None:
    """triplets.parquet with the texts, and rejections.parquet with score and threshold."""
    named = kept.with_columns(negative=pl.Series([data.documents[i] for i in kept["doc_id"]], dtype=pl.String))
    triplets = named.group_by("query_id", maintain_order=True).agg("negative", "score")
    triplets = triplets.with_columns(
        query=pl.Series([data.queries[i] for i in triplets["query_id"]], dtype=pl.String),
        positive=pl.Series([data.documents[i] for i in triplets["query_id"]], dtype=pl.String),
    )
    triplets.write_parquet(folder / "triplets.parquet", compression="zstd", statistics=False)
    refused = judged.drop_nulls("reason").select("query_id", "doc_id", "reason", "score", "threshold")
    refused.write_parquet(folder / "rejections.parquet", compression="zstd", statistics=False)


def _rescored(
    data: Data, queries: np.ndarray, found: np.ndarray, threads: int, teacher: CrossEncoderTeacher
) -> np.ndarray:
    """Distinct pairs, longest first, in shards over the threads."""
    pairs, back = np.unique(np.stack([queries, found], axis=1), axis=0, return_inverse=True)
    lengths = np.array([len(data.queries[q]) + len(data.documents[d]) for q, d in pairs])
    order = np.argsort(-lengths, kind="stable")
    shards = [order[start : start + SHARD] for start in range(0, len(order), SHARD)]
    scores = np.empty(len(pairs), dtype=np.float32)

    def run(shard: np.ndarray) -> None:
        scores[shard] = teacher.score([(data.queries[q], data.documents[d]) for q, d in pairs[shard]])

    with single_threaded(), workers(threads) as pool:
        list(pool.map(run, shards))
    return scores[back.reshape(-1)]


class Precomputed:
    """Stands in for a SentenceTransformer: hands out the vectors computed before."""

    def __init__(self, model: Any, data: Data) -> None:
        self._model, self._data = model, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_document(self, texts: list[str], **_: Any) -> np.ndarray:
        if texts != self._data.documents:
            raise ValueError("the corpus was reordered")
        return self._data.vectors["documents"]

    def encode_query(self, texts: list[str], **_: Any) -> np.ndarray:
        return self._data.vectors["queries"]


def sentence_transformers_miner(
    data: Data, model: Any, cross_encoder: Any, batch: int = 64
) -> Callable[[], dict[int, set[int]]]:
    """`mine_hard_negatives` with FAISS, the same depth, margin and number."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    pairs = Dataset.from_dict({"query": data.queries, "positive": data.documents[: len(data.queries)]})
    place = {text: i for i, text in enumerate(data.documents)}
    number = {text: i for i, text in enumerate(data.queries)}

    def run() -> dict[int, set[int]]:
        mined = mine_hard_negatives(
            pairs,
            cast("SentenceTransformer", Precomputed(model, data)),
            corpus=data.documents,
            cross_encoder=cross_encoder,
            range_max=DEPTH,
            relative_margin=1 - MARGIN,
            num_negatives=NEGATIVES,
            sampling_strategy="top",
            use_faiss=True,
            batch_size=batch,
            verbose=False,
        )
        found: dict[int, set[int]] = {}
        for query, negative in zip(mined["query"], mined["negative"], strict=True):
            found.setdefault(number[query], set()).add(place[negative])
        return found

    return run


# Runs under the Python of FlagEmbedding's environment: a line on stdin starts a run, its seconds are the answer.
FLAGEMBEDDING = """
import contextlib, importlib.util, io, json, sys, time
import numpy as np

folder, script, depth, negatives = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
spec = importlib.util.spec_from_file_location("hn_mine", script)
hn_mine = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hn_mine)
with open(folder + "/pool.json", encoding="utf-8") as file:
    pool = json.load(file)
place = {text: i for i, text in enumerate(pool)}
documents, queries = np.load(folder + "/documents.npy"), np.load(folder + "/queries.npy")

class Precomputed:
    spent = 0.0

    def encode(self, texts):
        start = time.perf_counter()
        vectors = documents[[place[text] for text in texts]]
        self.spent += time.perf_counter() - start
        return vectors

    def encode_queries(self, texts):
        return queries

print("ready", flush=True)
for _ in sys.stdin:
    model, start = Precomputed(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        hn_mine.find_knn_neg(model, folder + "/in.jsonl", folder + "/out.jsonl", candidate_pool=pool,
                             sample_range=[0, depth + 1], negative_number=negatives)
    print(time.perf_counter() - start - model.spent, flush=True)
"""


@contextlib.contextmanager
def flagembedding_miner(data: Data, python: Path, script: Path, folder: Path) -> Iterator[Callable[[], float]]:
    """Gives a call that runs `find_knn_neg` of the unchanged hn_mine.py, ranks 0 to 100, and returns its seconds."""
    if not script.is_file():
        raise SystemExit(f"error: --hn-mine: no file {script}")
    rows = [{"query": q, "pos": [d]} for q, d in zip(data.queries, data.documents, strict=False)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "pool.json").write_text(json.dumps(data.documents), encoding="utf-8")
    for name, vectors in data.vectors.items():
        np.save(folder / f"{name}.npy", vectors)
    command = [str(python), "-c", FLAGEMBEDDING, str(folder), str(script), str(DEPTH), str(NEGATIVES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        start, answers = running.stdin, running.stdout
        if answers.readline().strip() != "ready":
            raise SystemExit(f"error: --flagembedding: {python} can't import FlagEmbedding and faiss")

        def run() -> float:
            start.write("run\n")
            start.flush()
            return float(answers.readline())

        yield run
        start.close()


# ---------------------------------------------------------------- measuring


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
