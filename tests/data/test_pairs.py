"""prepare, of sources whose rows are pairs: mined negatives, classes, grades, and what can be no shots."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from components.config import TaskParams
from components.data.pairs import prepare_pairs
from tests.data.conftest import MakeContext, Rows, local, run_stages, task, write_jsonl
from tests.data.prepared import ANIMALS, Outputs, same


def mined(count: int = 40) -> Rows:
    """FlagEmbedding's rows: every negative is the positive of another query, so negatives tie all queries together."""
    return [
        {
            "query": f"what is the {ANIMALS[n % 10]} {n * 31}",
            "pos": [f"the {ANIMALS[n % 10]} {n * 31} is an animal"],
            "neg": [
                f"the {ANIMALS[other % 10]} {other * 31} is an animal" for other in ((n + 1) % count, (n + 2) % count)
            ],
            "pos_scores": [0.9],
            "neg_scores": [0.2, 0.1],
            "prompt": "Find it",
            "type": "normal",
            "category": None,
        }
        for n in range(count)
    ]


def test_mined_negatives_do_not_tie_retrieval_queries_together(tmp_path: Path, make_context: MakeContext) -> None:
    source = {"mined": local(write_jsonl(tmp_path / "m.jsonl", mined()), shape="positives_and_negatives")}
    metrics = run_stages(make_context(source, {"wild": task("mined", train=20, dev=5, test=6)}))
    assert (metrics["wild.train"], metrics["wild.dev"], metrics["wild.test"]) == (20, 5, 6)
    out = Outputs(tmp_path)
    held_out = {same(text) for text in out.benchmark("wild.corpus")["text"]}
    assert len(held_out) == 6
    assert not held_out & out.texts()
    train = out.corpus.filter(pl.col("split").is_null())
    assert len(train) > 20  # the negatives joined the corpus
    assert train["doc_id"].is_unique().all()
    own = pl.read_parquet(tmp_path / "outputs" / "prepare" / "own_negatives.parquet")
    queries = pl.read_parquet(tmp_path / "outputs" / "prepare" / "queries.parquet")
    corpus = pl.read_parquet(tmp_path / "outputs" / "prepare" / "corpus.parquet")
    asked = queries["text"].gather(own["query"]).str.extract(r"(\d+)$").cast(pl.Int64) // 31
    found = corpus["text"].gather(own["document"]).str.extract(r"(\d+) is").cast(pl.Int64) // 31
    assert set((found - asked) % 40) == {1, 2}  # as `mined` says
    assert set(queries["split"].gather(own["query"])) == {"train"}
    assert corpus["split"].gather(own["document"]).null_count() == len(own)
    assert own["query"].n_unique() > 15  # the others' negatives are held out


@pytest.mark.parametrize("kind", ["classification", "clustering"])
def test_class_pairs_share_their_documents_and_carry_the_label(
    tmp_path: Path, make_context: MakeContext, kind: str
) -> None:
    rows = [
        {
            "query": f"note {n * 17} here",
            "pos": [f"Kind {n % 2}"],
            "neg": [f"Kind {1 - n % 2}"],
            "category": f"c{n % 2}",
        }
        for n in range(30)
    ]
    fields = {"label": "category"}
    source = {"c": local(write_jsonl(tmp_path / "c.jsonl", rows), shape="positives_and_negatives", fields=fields)}
    metrics = run_stages(make_context(source, {"sort": task("c", kind=kind, train=20, dev=6)}))
    assert (metrics["sort.train"], metrics["sort.dev"]) == (20, 6)
    out = Outputs(tmp_path)
    assert dict(out.corpus.select("text", "label").iter_rows()) == {"Kind 0": "c0", "Kind 1": "c1"}
    assert out.corpus["split"].is_null().all()
    assert set(out.queries["label"]) == {"c0", "c1"}
    with pytest.raises(UserError, match=r"^prepare\.tasks\.sort: source c: holds pairs; .* set test: 0$"):
        run_stages(make_context(source, {"sort": task("c", kind=kind, train=9, test=6)}))


def test_mteb_lists_become_pairs(tmp_path: Path, make_context: MakeContext) -> None:
    packed = {
        "sentence1": [f"sentence {n}" for n in range(12)],
        "sentence2": [f"paraphrase {n}" for n in range(12)],
        "labels": [n % 2 for n in range(12)],
    }
    fields = {"text1": "sentence1", "text2": "sentence2", "score": "labels"}
    source = {"p": local(write_jsonl(tmp_path / "p.jsonl", [packed]), shape="lists", fields=fields)}
    run_stages(make_context(source, {"same": task("p", kind="pair_classification", symmetric=True, train=12)}))
    out = Outputs(tmp_path)
    assert len(out.qrels) == 12
    assert set(out.qrels["relevance"]) == {1.0}


def test_sts_keeps_every_judged_pair_with_its_grade() -> None:
    grades = [float(n % 5) - 1 for n in range(30)]  # -1 to 3
    rows = pl.DataFrame(
        {"text1": [f"left {n}" for n in range(30)], "text2": [f"right {n}" for n in range(30)], "score": grades}
    )

    def learned(**changes: Any) -> list[float]:
        params = TaskParams(source="graded", instruction="Do.", train=30, **{"kind": "sts", **changes})
        return prepare_pairs("graded", rows, params, seed=0).qrels["relevance"].sort().to_list()

    assert learned() == sorted(grades)
    assert learned(symmetric=True) == sorted(grades * 2)
    assert learned(positive_score=2) == sorted(grade for grade in grades if grade >= 2)
    assert learned(kind="pair_classification") == sorted(grade for grade in grades if grade > 0)


def test_a_task_whose_training_texts_cannot_be_shots_is_told_before_training(
    tmp_path: Path, make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    """Every question is nearly a question of dev: `how do I reset my router` beside `how do I reset my kettle`."""
    things = ["router", "kettle", "lamp", "drill", "pump", "fan", "oven", "clock"]
    actions = ["reset", "clean", "move", "open", "mount", "store", "repair", "sell"]
    faq = [
        {"query": f"how do I {action} my {thing}", "document": f"Answer {n} {thing}{n}: {action}{n} it{n} as said{n}"}
        for n, (action, thing) in enumerate((action, thing) for action in actions for thing in things)
    ]
    source = {"pairs": local(write_jsonl(tmp_path / "faq.jsonl", faq))}
    caplog.set_level("WARNING")
    metrics = run_stages(make_context(source, {"pairs": task("pairs", train=40, dev=16)}))
    assert (metrics["pairs.train"], metrics["tasks_without_shots"]) == (40, 1)
    assert "pairs: select_shots will choose none: each of 40 training pairs repeats a dev or test text" in caplog.text


def test_the_sources_own_teacher_scores_go_with_their_pairs() -> None:
    """Of positives and own negatives; a pair that the source does not score, or a reversed one, has none."""
    rows = pl.DataFrame(
        {
            "query": [f"what is thing {n // 2}" for n in range(80)],
            "document": [f"passage {n} tells of it" for n in range(80)],
            "score": [1.0, 0.0] * 40,
            "teacher_score": [None if n % 10 == 0 else n / 100 for n in range(80)],
        }
    )
    params = TaskParams(source="s", kind="retrieval", instruction="Find.", train=20, dev=5, symmetric=True)
    done = prepare_pairs("s", rows, params, seed=0)
    texts = dict(done.corpus.select("doc_id", "text").iter_rows())
    found = {texts[document]: score for _, document, score in done.source_scores.iter_rows()}
    pairs = pl.concat([done.qrels.select("query_id", "doc_id"), done.own_negatives])
    pairs = pairs.filter(~pl.col("query_id").str.ends_with("-reversed"))
    numbers = [int(texts[document].split()[1]) for _, document in pairs.iter_rows()]
    assert found == {f"passage {n} tells of it": n / 100 for n in numbers if n % 10}
    assert len(found) < len(numbers)
    assert {n % 2 for n in numbers} == {0, 1}
    assert prepare_pairs("s", rows.drop("teacher_score"), params, seed=0).source_scores.is_empty()


ASKED = ("Find the answer", "Find the proof", None)  # the first is the task's own


def asked_rows(count: int = 30) -> Rows:
    return [
        {"query": f"what is {ANIMALS[n % 10]} {n * 31}", "pos": [f"animal {n * 31}"], "neg": [], "prompt": ASKED[n % 3]}
        for n in range(count)
    ]


def test_the_instruction_of_a_row_is_kept_for_training_and_told(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [*asked_rows(), {**asked_rows()[1], "prompt": "Find more"}]
    source = {"s": local(write_jsonl(tmp_path / "a.jsonl", rows), "flagembedding")}
    metrics = run_stages(make_context(source, {"t": task("s", train=20, test=8)}))
    out = Outputs(tmp_path)
    texts = dict(out.queries.select("row", "text").iter_rows())
    wanted = {row["query"]: row["prompt"] for row in asked_rows()}
    found = {texts[row]: instruction for row, instruction in out.frame("instructions").iter_rows()}
    assert found == {text: "Find the proof" for text in texts.values() if wanted[text] == "Find the proof"}
    counted = {name: metrics[f"t.{name}"] for name in ("own_instructions", "instructions", "further_instructions")}
    assert counted == {"own_instructions": len(found), "instructions": 1, "further_instructions": 1}


@pytest.mark.parametrize(
    ("more", "rows", "told"),
    [
        ({"symmetric": True, "kind": "pair_classification"}, asked_rows(), "unused_instructions"),
        ({}, [{**row, "prompt": f"Find {n}"} for n, row in enumerate(asked_rows())], "too_many_instructions"),
    ],
)
def test_instructions_that_are_not_read_are_told(
    more: dict[str, Any],
    rows: Rows,
    told: str,
    make_context: MakeContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.data.pairs.MOST_INSTRUCTIONS", 10)
    source = {"s": local(write_jsonl(tmp_path / "a.jsonl", rows), "flagembedding")}
    metrics = run_stages(make_context(source, {"t": task("s", **{"train": 20, **more})}))
    assert metrics[f"t.{told}"] > 0
    assert not (tmp_path / "outputs/prepare/instructions.parquet").exists()
