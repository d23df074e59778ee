"""Planted false negatives: how many does each rule reject, and how many true hard negatives does it keep?

    python -m benchmarks.false_negatives [--quick] [--json FILE] [--outputs DIR]

To the corpora of BoolQ and FiQA (outputs/prepare) we add copies of real positives that nobody labelled: a quarter
equal but for case, punctuation and line breaks; a quarter with every tenth word dropped and the sentences rotated; a
quarter cut to two thirds; a quarter rephrased (function words dropped or exchanged, sentences in reverse order). Then
the retrieve, score and mine stages run as they are. A planted text among a query's candidates is a false negative.
Twice on the same texts: on the teacher's cosines, and on logits made of them, where a relative margin on the raw logit
and one on its sigmoid (what `mine.margin_on` chooses) stand side by side.
Hard negatives are the query's 7 highest-scored candidates that are neither planted nor labelled; BoolQ and FiQA label
one passage a question, so a few of these are unlabelled positives, and "kept" can't reach 100 %.

What this can't show: the planted texts are made by rules and keep most long words of the original, which is what the
copy rules look for. A paraphrase in other words is left to the score; the rows without copies tell how far that goes.
"""

import argparse
import json
import math
import random
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

from components.base.threads import workers
from components.config import MineParams, load_config
from components.config.mining import Scale
from components.contracts.tables import (
    CORPUS,
    QRELS,
    QUERIES,
    TEACHER_SCORES,
    name_by_row,
    number_rows,
    read_table,
    write_table,
)
from components.data.inputs import read_inputs
from components.mining.facts import Stored, TaskTexts, gather_facts, positive_values
from components.mining.rules import apply_rules
from components.mining.scale import with_values
from components.teacher import retrieve, score

TASKS = ("boolq", "fiqa")
HARD = 7
SWAPS = {
    "is": "has been", "are": "have been", "the": "this", "a": "one", "can": "may", "also": "too", "because": "since",
    "however": "but", "such as": "like", "many": "numerous", "usually": "mostly", "often": "frequently",
    "for example": "for instance", "in order to": "to", "large": "big", "began": "started", "used": "employed",
}  # fmt: skip


def same_words(text: str, draw: random.Random) -> str:
    """Other case, punctuation and spaces."""
    return re.sub(r"[,.;:]\s*", " - ", text.upper()).replace("  ", "\n")


def edited(text: str, draw: random.Random) -> str:
    """Every tenth word dropped, sentences rotated."""
    sentences = re.split(r"(?<=[.!?])\s+", text)
    turned = " ".join(sentences[1:] + sentences[:1])
    return " ".join(word for i, word in enumerate(turned.split()) if i % 10 != 9)


def excerpt(text: str, draw: random.Random) -> str:
    """The first two thirds."""
    words = text.split()
    return " ".join(words[: max(4, 2 * len(words) // 3)])


def rephrased(text: str, draw: random.Random) -> str:
    """Function words exchanged, some adjectives' neighbours dropped, sentences in reverse order."""
    sentences = re.split(r"(?<=[.!?])\s+", text)
    words = " ".join(reversed(sentences)).lower()
    for old, new in SWAPS.items():
        words = re.sub(rf"\b{old}\b", new, words)
    return " ".join(word for word in words.split() if len(word) > 3 or draw.random() < 0.7)


KINDS = {"same_words": same_words, "edited": edited, "excerpt": excerpt, "rephrased": rephrased}


def plant(prepared: Path, out: Path, number: int, others: int) -> dict[tuple[str, str], str]:
    """Write the tables with `number` planted texts; returns kind by (query, planted document)."""
    inputs = read_inputs(prepared)
    draw = random.Random(0)
    queries = inputs.queries.filter(pl.col("task").is_in(TASKS))
    dev, train = (queries.filter(pl.col("split") == split)["query_id"].to_list() for split in ("dev", "train"))
    kept = sorted([*dev[: max(10, number // 4)], *draw.sample(train, min(number, len(train)))])
    queries = queries.filter(pl.col("query_id").is_in(kept))
    qrels = (
        inputs.qrels.join(queries.select("query_id", query="row"), on="query")
        .join(inputs.corpus.select("doc_id", document="row"), on="document")
        .select("query_id", "doc_id", "relevance")
        .sort("query_id", "doc_id")
    )
    first = qrels.group_by("query_id", maintain_order=True).first()
    texts = dict(inputs.corpus.select("doc_id", "text").iter_rows())
    facts = {row["doc_id"]: row for row in inputs.corpus.iter_rows(named=True)}
    planted, rows = {}, []
    for i, (query, positive) in enumerate(first.select("query_id", "doc_id").head(number).iter_rows()):
        kind = list(KINDS)[i % len(KINDS)]
        identity = f"planted-{i}"
        rows.append({**facts[positive], "doc_id": identity, "text": KINDS[kind](texts[positive], draw)})
        planted[query, identity] = kind
    own = inputs.corpus.filter(pl.col("task").is_in(TASKS))
    needed = set(qrels["doc_id"])
    rest = [doc for doc in own["doc_id"].to_list() if doc not in needed]
    chosen = needed | set(draw.sample(rest, min(others, len(rest))))
    corpus = pl.concat([own.filter(pl.col("doc_id").is_in(sorted(chosen))), pl.DataFrame(rows, schema=own.schema)])
    corpus, queries = number_rows(corpus, CORPUS), number_rows(queries, QUERIES)
    write_table(corpus, out / "corpus.parquet", CORPUS)
    write_table(queries, out / "queries.parquet", QUERIES)
    write_table(name_by_row(qrels, queries, corpus), out / "qrels.parquet", QRELS)
    return planted


def run_stages(given: Path, folder: Path) -> pl.DataFrame:
    """Retrieve and score in `folder`; returns what the rules look at, for every candidate, and `logit`.

    `logit` is the argument of the calibration's sigmoid (Platt), for classes of equal size: the starter's teacher as a
    reranker that was trained on as many negatives as positives.
    """
    config = load_config(Path("params.yaml"))
    config = config.model_copy(update={"score": config.score.model_copy(update={"queries": "all"})})
    outputs = folder / "outputs"
    (outputs / "fetch").mkdir()
    (outputs / "fetch" / "models").symlink_to((given / "fetch" / "models").resolve())
    for name, stage in (("retrieve", retrieve), ("score", score)):
        (outputs / name).mkdir()
        context: Any = SimpleNamespace(
            config=config, outputs=outputs, out=outputs / name, work=folder / "work", cache=Path(".cache")
        )
        stage.run(context)
    inputs = read_inputs(outputs / "prepare")
    scores = with_values(read_table(outputs / "score" / "teacher_scores.parquet", TEACHER_SCORES), "raw")
    curves = json.loads((outputs / "score" / "calibration.json").read_text(encoding="utf-8"))
    parts = []
    for task in inputs.tasks:
        texts = TaskTexts.of(inputs, task, config.threads or 2, Stored.of(outputs / "prepare", Path(".cache")))
        own = scores.filter(pl.col("query").is_in(texts.queries["row"].to_list()))
        qrels = inputs.qrels.filter(pl.col("query").is_in(texts.queries["row"].to_list()))
        with workers(config.threads or 2) as pool:
            positives = positive_values(own, qrels, outputs / "prepare", "scores")
            facts = gather_facts(own, positives, inputs.own_negatives, texts, config.mine, pool)
        curve = curves[task]
        dev = texts.queries.filter(pl.col("split") == "dev")["row"].to_list()
        on, right = (int(frame["query"].is_in(dev).sum()) for frame in (own, positives))
        offset = curve["offset"] + math.log((on - right) / right) if right else curve["offset"]
        logit, weakest = (curve["slope"] * pl.col(name) + offset for name in ("score", "weakest"))
        parts.append(facts.with_columns(logit=logit, weakest_logit=weakest))
    return (
        pl.concat(parts)
        .join(inputs.queries.select("query_id", query="row"), on="query", maintain_order="left")
        .join(inputs.corpus.select("doc_id", document="row"), on="document", maintain_order="left")
    )


def judged_by(facts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Every candidate with `refused` (bool), by rule. Only the rules "+ copies" know copies."""
    plain = facts.with_columns(duplicate=pl.lit(None, pl.Float64), same_as_query=pl.lit(False))
    found = {
        "naive top-k": plain.with_columns(refused=pl.lit(False)),
        "absolute 0.7": plain.with_columns(refused=pl.col("score") >= 0.7),
        "relative 0.95": _refused(plain, "raw"),
        "ours: relative 0.95 + copies": _refused(facts, "raw"),
        "logits: relative 0.95": _refused(_on_logits(plain), "raw"),
        "logits: probability 0.95": _refused(_on_probabilities(plain), "probability"),
        "logits: relative 0.95 + copies": _refused(_on_logits(facts), "raw"),
        "logits: probability 0.95 + copies": _refused(_on_probabilities(facts), "probability"),
    }
    return found


def _on_logits(facts: pl.DataFrame) -> pl.DataFrame:
    return facts.with_columns(value="logit", weakest="weakest_logit")


def _on_probabilities(facts: pl.DataFrame) -> pl.DataFrame:
    as_scores = {"reranker_score": pl.col("logit"), "relevance": pl.lit(0.0)}
    values = with_values(facts.with_columns(**as_scores), "probability")["value"]
    weakest = with_values(facts.with_columns(**{**as_scores, "reranker_score": pl.col("weakest_logit")}), "probability")
    return facts.with_columns(value=values, weakest=weakest["value"])


def _refused(facts: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    judged = apply_rules(facts.with_columns(margin=pl.lit(0.95)), MineParams(), scale)
    return judged.with_columns(refused=pl.col("reason").is_not_null())


def rates(judged: pl.DataFrame, planted: pl.DataFrame) -> dict[str, float]:
    """Share of the planted candidates refused (and by kind), share of the hard negatives kept."""
    marked = judged.join(planted, on=["query_id", "doc_id"], how="left")
    false = marked.drop_nulls("kind")
    true = marked.filter(~pl.col("doc_id").str.starts_with("planted-"))
    hard = true.sort(["query_id", "score", "doc_id"], descending=[False, True, False]).group_by("query_id").head(HARD)
    kinds = {kind: float(part["refused"].mean()) for (kind,), part in false.group_by("kind")}  # type: ignore[arg-type]  # bool mean
    return {
        "planted_rejected": float(false["refused"].mean()),  # type: ignore[arg-type]
        "hard_kept": 1 - float(hard["refused"].mean()),  # type: ignore[arg-type]
        "planted": float(len(false)),
        **{f"rejected_{kind}": kinds[str(kind)] for kind in KINDS if kind in kinds},
    }


def main() -> None:
    """Plant, run the stages, judge, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="after `dvc repro prepare`")
    given = parser.parse_args()
    number, others = (24, 60) if given.quick else (600, 2000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = plant(given.outputs / "prepare", folder / "outputs" / "prepare", number, others)
        facts = run_stages(given.outputs, folder)
    rows = [(query, doc, kind) for (query, doc), kind in kinds.items()]
    planted = pl.DataFrame(rows, schema=["query_id", "doc_id", "kind"], orient="row")
    found = {label: rates(judged, planted) for label, judged in judged_by(facts).items()}
    print(f"{len(kinds)} planted, {facts['query_id'].n_unique()} queries; share of planted refused, of hard ones kept")
    for label, rate in found.items():
        detail = ", ".join(f"{kind} {rate[f'rejected_{kind}']:.2f}" for kind in KINDS if f"rejected_{kind}" in rate)
        print(f"{label:60s} {rate['planted_rejected']:.3f}  {rate['hard_kept']:.3f}  ({detail})")
    best = found["logits: probability 0.95 + copies"]
    figures = {**best, "planted_made": len(kinds)}
    for label, rate in found.items():
        name = label.replace(" + ", "_").replace(": ", "_").replace(" ", "_").replace("-", "_")
        figures[f"{name}_rejected"], figures[f"{name}_hard_kept"] = rate["planted_rejected"], rate["hard_kept"]
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
