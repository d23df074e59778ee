"""A FAQ in Japanese, Chinese and English goes from fetch to mine by the same rules: near copies found, BM25 hits.

The teacher is a stub that scores by BM25's rank.
"""

from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from components.config import Bm25Params, MineParams
from components.contracts.tables import REJECTIONS, TEACHER_SCORES, TRIPLETS, read_table, write_table
from components.data.inputs import Inputs, read_inputs
from components.mining import mine
from components.search.bm25 import bm25_search
from components.stage.context import StageContext
from tests.data.conftest import MakeContext, Rows, local, run_stages, task, write_jsonl

LETTERS = {
    "ja": "荷物返金予約座席領収書会員証電池画面窓口送料鍵天気かなのをにがでとも",
    "zh": "包裹退款预订座位发票会员电池屏幕柜台运费钥匙天气怎么请问处理的了在",
    "en": "bcdfghjklmnprstvwz",
}
COURTESY = {"ja": "どうぞよろしく", "zh": "谢谢您", "en": "thank you"}


def faq(language: str) -> Rows:
    """60 answers of 16 words, each asked for by three of its words; 12 more rows repeat an answer with a courtesy."""
    random, letters = Random(1), LETTERS[language]
    if language == "en":
        words = ["".join(random.sample(letters, 5)) for _ in range(90)]
    else:
        words = ["".join(random.sample(letters, 2)) for _ in range(90)]
    space, rows = " " if language == "en" else "", []
    for _ in range(60):
        answer = random.sample(words, 16)
        rows.append({"query": space.join(random.sample(answer, 3)), "document": space.join(answer)})
    more = space + COURTESY[language]
    copies = [{"query": row["document"][:9] + more, "document": row["document"] + more} for row in rows[:12]]
    return rows + copies


def scored(inputs: Inputs) -> pl.DataFrame:
    """Ten BM25 candidates of each query, and its positives; the score falls with the rank."""
    rows: dict[tuple[int, int], float] = {}
    for pool in inputs.pools("faq"):
        texts = pool.corpus["text"].to_list(), pool.queries["text"].to_list()
        hits = bm25_search(*texts, 10, Bm25Params(), 1, "test")
        for query, found in zip(pool.queries["row"], hits.documents, strict=True):
            for rank, place in enumerate(found.tolist()):
                if place >= 0:
                    rows[query, pool.corpus["row"][place]] = 0.5 - rank / 100
    rows |= {pair: 0.9 for pair in inputs.positives.select("query", "document").iter_rows()}
    frame = [(query, document, score) for (query, document), score in sorted(rows.items())]
    scores = pl.DataFrame(frame, schema=["query", "document", "reranker_score"], orient="row")
    scores = scores.with_columns(fused_score="reranker_score", relevance="reranker_score")
    return scores.with_columns(
        pl.lit(None).alias(name) for name in TEACHER_SCORES.columns if name not in scores.columns
    )


def mined(context: StageContext) -> tuple[pl.DataFrame, pl.DataFrame]:
    outputs = context.outputs
    write_table(scored(read_inputs(outputs / "prepare")), outputs / "score" / "teacher_scores.parquet", TEACHER_SCORES)
    config: Any = SimpleNamespace(seed=7, threads=1, mine=MineParams(), score=SimpleNamespace(reranker="maxsim"))
    (outputs / "mine").mkdir()
    mine.run(replace(context, out=outputs / "mine", config=config))
    tables = {"triplets": TRIPLETS, "rejections": REJECTIONS}
    first, second = (read_table(outputs / "mine" / f"{name}.parquet", table) for name, table in tables.items())
    return first, second


@pytest.mark.parametrize("language", ["ja", "zh", "en"])
def test_the_same_rules_hold(language: str, make_context: MakeContext, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "faq.jsonl", faq(language))
    asked: dict[str, Any] = {"train": 50, "dev": 6, "test": 12, "max_words": 80}
    context = make_context({"faq": local(path)}, {"faq": task("faq", **asked)})
    metrics = run_stages(context)
    assert metrics["removed_near"] + metrics["removed_contains"] >= 1  # a copy of a held-out answer
    triplets, rejections = mined(context)
    assert triplets["negatives"].list.len().sum() > 4 * len(triplets)  # BM25 found candidates, and they are no copies
    copies = rejections.filter(pl.col("reason") == "duplicate_of_positive")
    assert len(copies) >= 4
    assert (copies["compared"] >= 0.5).all()
