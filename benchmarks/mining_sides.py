"""The sides of benchmarks/mining.py and the data all of them are given; a side returns {query: set of negatives}."""

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from components.base.threads import single_threaded, workers
from components.config import DenseTeacherParams, EngineParams, MineParams
from components.contracts.texts import Texts, write_texts
from components.mining.rules import apply_rules, hardest
from components.model.sentence_model import PLAIN
from components.search.exact import exact_search
from components.search.stream import DOCUMENT_BLOCK
from components.teacher.cross_encoder import CrossEncoderTeacher
from components.teacher.dense import EmbeddedTexts, Rows

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
        with tempfile.TemporaryDirectory() as folder:
            write_texts([*self.documents, *self.queries], Path(folder) / "texts.arrow")
            texts = Texts(Path(folder) / "texts.arrow")
            rows = {"documents": np.arange(documents), "queries": np.arange(documents, documents + queries)}
            parts = {name: Rows(PLAIN, texts, own) for name, own in rows.items()}
            embedded.fill(list(parts.values()), "mining: encode", EngineParams(shard=1024), threads)
            self.vectors = {name: embedded.all(part) for name, part in parts.items()}


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
    frame = pl.DataFrame({"query": queries, "document": found, "rank": ranks, "score": scores}).filter(
        pl.col("query") != pl.col("document")
    )
    facts = frame.with_columns(
        value="score",
        own=pl.lit(False),
        weakest=pl.Series(own[frame["query"].to_numpy()]),
        margin=pl.lit(MARGIN),
        same_label=pl.lit(False),
        same_as_query=pl.lit(False),
        duplicate=pl.lit(None, pl.Float64),
    )
    judged = apply_rules(facts, MineParams(margin=MARGIN), "raw")
    kept = hardest(judged, NEGATIVES)
    grouped = kept.group_by("query", maintain_order=True).agg("document")
    _write(data, kept, judged, folder)
    return {query: set(ids) for query, ids in grouped.iter_rows()}


def _write(data: Data, kept: pl.DataFrame, judged: pl.DataFrame, folder: Path) -> None:
    """triplets.parquet with the texts, and rejections.parquet with score and threshold."""
    named = kept.with_columns(negative=pl.Series([data.documents[i] for i in kept["document"]], dtype=pl.String))
    triplets = named.group_by("query", maintain_order=True).agg("negative", "score")
    triplets = triplets.with_columns(
        query=pl.Series([data.queries[i] for i in triplets["query"]], dtype=pl.String),
        positive=pl.Series([data.documents[i] for i in triplets["query"]], dtype=pl.String),
    )
    triplets.write_parquet(folder / "triplets.parquet", compression="zstd", statistics=False)
    refused = judged.drop_nulls("reason").select("query", "document", "reason", "score", "threshold")
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
