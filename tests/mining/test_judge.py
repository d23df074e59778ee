"""The judge: its models, its cache, and what it changes: relabelled candidates and confirmed positives."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from components.base.errors import UserError
from components.config import JudgeParams, MineParams
from components.contracts.tables import JUDGEMENTS, REJECTIONS, TEACHER_SCORES, TRIPLETS, read_table, write_table
from components.contracts.tasks import Task, write_tasks
from components.mining import mine
from components.mining.judge import Judge
from components.teacher import pair_model
from components.teacher.cross_encoder import CrossEncoderTeacher
from tests.samples import write_prepared_tables
from tests.teacher.conftest import _config, _tokenizer, make_dense_teacher, make_reranker

FACTS = Task("facts", "retrieval", "Find it.", False, 1.0, "none", "test")
PAIRS = [("what is a fox", "a fox is an animal"), ("what is a fox", "bread and butter")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_reranker(folder / "reranker")
    make_dense_teacher(folder / "dense")
    return folder


def params(**changes: object) -> JudgeParams:
    return JudgeParams.model_validate({"reranker": "cross_encoder", "model": "reranker", "max_tokens": 64, **changes})


@pytest.mark.slow
def test_a_cross_encoder_judges_by_probability_and_a_dense_model_by_the_positives(models: Path, tmp_path: Path) -> None:
    logits = Judge(params(threshold=0.9), models, tmp_path)
    assert logits.score(PAIRS).shape == (2,)
    assert logits.threshold(np.array([3.0])) == pytest.approx(math.log(9))
    cosines = Judge(params(reranker="dense", model="dense"), models, tmp_path)
    scores = cosines.score(PAIRS)
    assert ((scores <= 1.0001) & (scores >= -1.0001)).all()
    assert cosines.threshold(np.array([0.1, 0.5, 0.9])) == 0.5


def test_scores_are_cached_by_model_and_texts(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Judge(params(), models, tmp_path).score(PAIRS)
    monkeypatch.setattr(pair_model, "load_once", lambda source: pytest.fail("asked again"))
    again = Judge(params(threshold=0.2), models, tmp_path).score(PAIRS)  # a threshold decides no score
    assert again.tolist() == first.tolist()


def test_only_new_pairs_are_asked(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Judge(params(), models, tmp_path).score(PAIRS)
    asked, score = list[tuple[str, str]](), CrossEncoderTeacher.score
    monkeypatch.setattr(CrossEncoderTeacher, "score", lambda self, pairs: asked.extend(pairs) or score(self, pairs))
    new = ("what is new", "this is")
    updated = Judge(params(), models, tmp_path).score([new, *PAIRS, new])
    assert asked == [new]
    assert updated[1:-1].tolist() == first.tolist()
    assert updated[0] == updated[-1]


def test_a_judge_that_cannot_be_loaded_is_one_line(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing: mine\.judge\.model: no model here; run the fetch stage"):
        Judge(params(model="missing"), models, tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"^[^\n]*broken: mine\.judge\.model: cannot be loaded as cross_encoder: [^\n]*$"
    ):
        Judge(params(model="broken"), tmp_path, tmp_path / "cache").score(PAIRS)


class Topics:
    """Finds a document relevant when it names the query's topic (its last word)."""

    def score(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        return np.array([4.0 if query.split()[-1] in document.split() else -4.0 for query, document in pairs])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 queries; candidates: an unlabelled second answer near the positive, and others with falling scores."""
    outputs = tmp_path_factory.mktemp("world") / "outputs"
    corpus, queries, qrels = [], [], []
    for i in range(40):
        queries.append((f"q{i:02}", f"tell me of topic{i}", "facts", "dev" if i % 2 else "train"))
        corpus += [(f"d{i:02}", f"topic{i} explained"), (f"e{i:02}", f"more about topic{i} here")]
        qrels.append((f"q{i:02}", f"d{i:02}", 1.0))
    documents = pl.DataFrame(corpus, schema=["doc_id", "text"], orient="row").with_columns(task=pl.lit("facts"))
    asked = pl.DataFrame(queries, schema=["query_id", "text", "task", "split"], orient="row")
    write_prepared_tables(
        outputs / "prepare",
        documents,
        asked,
        pl.DataFrame(qrels, schema=["query_id", "doc_id", "relevance"], orient="row"),
    )
    rows = []
    for i in range(40):  # rows: d00 ... d39, then e00 ... e39
        own = {i: 0.9, 40 + i: 0.8} | {(i + k) % 40: 0.7 - 0.05 * k for k in range(1, 8)}
        own |= {0: 0.95} if i == 2 else {}  # an irrelevant candidate above the positive of a training query
        rows += [(i, document, score) for document, score in own.items()]
    scores = pl.DataFrame(rows, schema=["query", "document", "reranker_score"], orient="row").sort("query", "document")
    scores = scores.with_columns(fused_score=pl.col("reranker_score"), relevance=pl.col("reranker_score"))
    missing = {name: pl.lit(None) for name in TEACHER_SCORES.columns if name not in scores.columns}
    write_table(scores.with_columns(**missing), outputs / "score" / "teacher_scores.parquet", TEACHER_SCORES)
    write_tasks([FACTS], outputs / "prepare" / "tasks.yaml")
    judge = outputs / "fetch" / "models" / "judge"
    judge.mkdir(parents=True)
    (judge / "config.json").write_text("{}", encoding="utf-8")
    return outputs


def run(world: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> dict[str, float]:
    monkeypatch.setattr(pair_model, "load_once", lambda source: Topics())
    given = {"negatives": 3, "judge": {"reranker": "llm", "model": "judge"}, **changes}
    config = SimpleNamespace(
        seed=7, threads=1, mine=MineParams.model_validate(given), score=SimpleNamespace(reranker="maxsim")
    )
    out.mkdir()
    context = SimpleNamespace(outputs=world, out=out, config=config, cache=out.parent / "cache")
    return mine.run(context)  # type: ignore[arg-type]  # a context with the few fields that mine reads


def test_the_margin_follows_the_judge(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = run(world, tmp_path / "mine", monkeypatch)
    assert metrics["margin_fitted/facts"] == 1
    assert 0.72 < metrics["margin/facts"] <= 0.89  # below the second answers (0.8 of 0.9), above the others (0.65)
    assert metrics["estimated_false_negative_rate/facts"] <= 0.05
    judged = read_table(tmp_path / "mine" / "judgements.parquet", JUDGEMENTS)
    shares = {why: rows["relevant"].mean() for (why,), rows in judged.group_by("purpose")}
    assert shares["positive"] == 1
    assert shares["random"] == 0
    assert 0 < shares["margin"] < 1
    assert set(judged["judge"]) == {"judge"}
    page = (tmp_path / "mine" / "report.html").read_text(encoding="utf-8")
    assert "fitted on dev by the judge" in page


@pytest.mark.slow
def test_false_negatives_become_positives_with_their_evidence(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(world, tmp_path / "drop", monkeypatch)
    metrics = run(world, tmp_path / "mine", monkeypatch, false_negatives="relabel")
    assert metrics["triplets"] == before["triplets"] + 20  # one of each training query, none of a dev query
    assert metrics["rejected/relabelled"] == 20
    triplets = read_table(tmp_path / "mine" / "triplets.parquet", TRIPLETS)
    new = triplets.filter(pl.col("positive") >= 40)
    assert set(new["query"]) == set(range(0, 40, 2))
    assert (new["positive"] == new["query"] + 40).all()
    assert set(new["positive_score"]) == {0.8}
    assert not (new["negatives"].explode() >= 40).any()
    refused = read_table(tmp_path / "mine" / "rejections.parquet", REJECTIONS).filter(pl.col("reason") == "relabelled")
    assert set(refused.select("score", "scale", "compared", "threshold").rows()) == {(0.8, "judge", 4.0, 0.0)}


def test_pairs_with_grades_of_their_own_are_not_relabelled(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CoSENT ranks pairs by their grades, and a judge gives none."""
    monkeypatch.setattr(mine, "read_tasks", lambda file: {"facts": replace(FACTS, kind="sts")})
    metrics = run(world, tmp_path / "mine", monkeypatch, false_negatives="relabel")
    assert "rejected/relabelled" not in metrics
    assert metrics["triplets"] == 40
    assert "facts: nothing is relabelled: its pairs are trained with grades, and the judge gives none" in caplog.text


def test_a_suspicious_positive_that_the_judge_confirms_stays(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = run(world, tmp_path / "mine", monkeypatch, suspicious=0.0, suspicious_action="drop")
    assert metrics["suspicious/confirmed"] == 1
    assert "suspicious/drop" not in metrics
    assert metrics["triplets"] == 40


def test_a_judge_that_knows_nothing_leaves_the_margin(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Topics, "score", lambda self, pairs: np.full(len(pairs), 1.0))
    metrics = run(world, tmp_path / "mine", monkeypatch, false_negatives="relabel")
    assert metrics["margin/facts"] == 0.95
    assert "rejected/relabelled" not in metrics
    told = "the judge finds 100 % of 20 labelled positives relevant, and 100 % of 20 random documents"
    assert f"facts: no margin fitted, mine.margin 0.95 stays: {told}" in caplog.text
    assert f"facts: nothing is relabelled: {told}" in caplog.text


def test_a_sparse_encoder_judges_too(tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    tokenizer = _tokenizer(tmp_path / "splade")
    BertForMaskedLM(_config(len(tokenizer))).save_pretrained(tmp_path / "splade")
    judge = Judge(params(reranker="sparse", model="splade"), tmp_path, tmp_path / "cache")
    found = judge.score([*PAIRS, PAIRS[0]])
    assert found.shape == (3,)
    assert found[0] == found[2] != found[1]
    assert judge.threshold(found) == found[0]
