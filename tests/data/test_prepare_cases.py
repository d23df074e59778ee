"""prepare on the small sources that people bring: what is given of what is asked, why, and which advice cures."""

import json
import random
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from components.config import PrepareParams
from tests.data.conftest import MakeContext, Rows, local, run_stages, task, write_jsonl
from tests.data.prepared import Outputs

Split = tuple[int, int, int]


def prepared(
    rows: Rows, make_context: MakeContext, tmp_path: Path, decontaminate: dict[str, float] | None = None, **asked: Any
) -> tuple[dict[str, float], Outputs]:
    """fetch and prepare of one task `t`; its metrics and outputs."""
    context = make_context({"s": local(write_jsonl(tmp_path / "s.jsonl", rows))}, {"t": task("s", **asked)})
    if decontaminate:
        raw = {"tasks": {"t": task("s", **asked)}, "decontaminate": decontaminate}
        changed = context.config.model_copy(update={"prepare": PrepareParams.model_validate(raw)})
        context = replace(context, config=changed)
    return run_stages(context), Outputs(tmp_path)


def account(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "outputs/prepare/manifest.json").read_text())["tasks"]["t"]


def plain(count: int, answers: int | None = None) -> Rows:
    """Questions with nothing in common but, with `answers`, one of so many answers."""
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]

    def text(number: int, length: int) -> str:
        return " ".join(random.Random(f"{number} {length}").choices(words, k=length))

    found = answers or count
    return [{"query": f"q{n} {text(n, 5)}", "document": f"d{n % found} {text(n % found, 15)}"} for n in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "given"), [(60, (48, 3, 9)), (300, (240, 17, 43)), (750, (600, 43, 107)), (5000, (4300, 200, 500))]
)
def test_the_readmes_numbers_work_on_any_number_of_rows(
    rows: int, given: Split, make_context: MakeContext, tmp_path: Path
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    asked = {split: int(number) for split, number in re.findall(r"\b(train|dev|test): (\d+)", readme)}
    assert asked == {"train": 5000, "dev": 200, "test": 500}
    metrics, _ = prepared(plain(rows), make_context, tmp_path, **asked)
    assert tuple(metrics[f"t.{split}"] for split in ("train", "dev", "test")) == given


@pytest.mark.parametrize(("answers", "count"), [(1, 10), (5, 300)])
def test_a_few_answers_to_many_questions_are_split_by_question(
    answers: int, count: int, make_context: MakeContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    asked = {"train": count * 6 // 10, "dev": count // 10, "test": count // 5}
    metrics, out = prepared(plain(count, answers), make_context, tmp_path, **asked)
    assert all(metrics[f"t.{split}"] == number for split, number in asked.items())
    assert len(out.benchmark("t.corpus")) == len(out.corpus) == answers
    assert not set(out.benchmark("t.queries")["text"]) & set(out.queries["text"])
    assert metrics["t.answers_in_both"] == answers
    assert f"{answers} documents are answers in training and in test" in caplog.text


def test_questions_with_one_sentence_in_common_answers_keep_their_own_answers_apart(
    make_context: MakeContext, tmp_path: Path
) -> None:
    rows = plain(100)
    rows += [{"query": row["query"], "document": "please see the manual"} for row in rows]
    _, out = prepared(rows, make_context, tmp_path, train=60, dev=10, test=20)
    shared = set(out.benchmark("t.corpus")["text"]) & set(out.corpus["text"])
    assert shared == {"please see the manual"}


def test_reranking_is_not_split_by_question_and_says_why_nothing_is_left(
    make_context: MakeContext, tmp_path: Path
) -> None:
    rows = [{**row, "score": 1} for row in plain(40, 1)]
    wanted: dict[str, Any] = {"kind": "reranking", "train": 20, "test": 10}
    with pytest.raises(UserError, match=r"t\.test: .* none of its queries has a positive and a negative"):
        prepared(rows, make_context, tmp_path, **wanted)
    rows += [{"query": row["query"], "document": "never", "score": 0} for row in rows]
    with pytest.raises(UserError, match=r"t\.train: .* share documents, so they stay together and went to test \(10\)"):
        prepared(rows, make_context, tmp_path, **wanted)


def test_queries_without_a_positive_take_no_place_of_others(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{**row, "score": n % 2} for n, row in enumerate(plain(200))]
    metrics, _ = prepared(rows, make_context, tmp_path, train=60, dev=10, test=20)
    assert (metrics["t.train"], metrics["t.dev"], metrics["t.test"]) == (60, 10, 20)
    assert metrics["t.no_positive"] == 100
    with pytest.raises(UserError, match=r"none of 200 queries has a score above 0"):
        prepared([{**row, "score": -1} for row in rows], make_context, tmp_path, train=60)


def test_stated_splits_over_shared_passages_are_kept_by_question(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "train", "test")[n % 3]} for n, row in enumerate(plain(90, 4))]
    metrics, _ = prepared(rows, make_context, tmp_path, train=60, test=30)
    assert (metrics["t.train"], metrics["t.test"], metrics["t.answers_in_both"]) == (60, 30, 4)


def test_hard_documents_do_not_take_the_training_queries_of_a_small_source(
    make_context: MakeContext, tmp_path: Path
) -> None:
    wanted = {"train": 80, "dev": 0, "test": 20, "test_documents": 60}
    metrics, out = prepared(plain(100), make_context, tmp_path, **wanted)
    assert (metrics["t.train"], metrics["t.test"], metrics["t.fewer_documents"]) == (80, 20, 40)
    metrics, out = prepared(plain(100), make_context, tmp_path, **{**wanted, "train": 50})
    assert (metrics["t.train"], len(out.benchmark("t.corpus"))) == (50, 50)


@pytest.mark.parametrize("both", [True, False], ids=["one id space", "two"])
def test_queries_and_documents_may_share_ids(both: bool, make_context: MakeContext, tmp_path: Path) -> None:
    """Training documents 0 and 1 and training query 3 repeat what test holds."""
    rows = [
        {
            **row,
            "query_id": f"{n}" if both else f"q{n}",
            "doc_id": f"{n}" if both else f"d{n}",
            "split": "train" if n < 30 else "test",
        }
        for n, row in enumerate(plain(40))
    ]
    for place in (0, 1):
        rows[place]["document"] = rows[35 + place]["document"].upper()
    rows[3]["query"] = rows[37]["query"] + "!"
    metrics, out = prepared(rows, make_context, tmp_path, train=30, test=10)
    listed = pl.read_parquet(out.folder / "decontamination.parquet").select("id", "table").rows()
    names = ("t-0", "t-1", "t-3") if both else ("t-d0", "t-d1", "t-q3")
    assert listed == [(names[0], "corpus"), (names[1], "corpus"), (names[2], "queries")]
    assert metrics["t.train"] == 27  # queries 0, 1 and 3
    assert ("t-3" if both else "t-d3") in set(out.corpus["doc_id"])  # query 3 is gone, its document is clean


def test_case_and_spaces_are_kept_and_counted(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [
        {"query": "us", "document": "the pronoun"},
        {"query": "US", "document": "the country"},
        {"query": "how to loop", "document": "for x in y:\n    print(x)"},
        {"query": "how not to loop", "document": "for x in y:\nprint(x)"},
    ]
    metrics, out = prepared(rows, make_context, tmp_path, train=4)
    assert metrics["t.variants"] == 2
    text = {
        "q": dict(out.queries.select("query_id", "text").iter_rows()),
        "d": dict(out.corpus.select("doc_id", "text").iter_rows()),
    }
    learned = {(text["q"][one], text["d"][other]) for one, other in out.qrels.select("query_id", "doc_id").iter_rows()}
    assert learned == {(row["query"], row["document"]) for row in rows}


@pytest.mark.parametrize("form", ["NFD", "NFC", "wide"])
def test_forms_of_one_text_are_in_one_split(form: str, make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{"query": f"où est la bibliothèque numéro {n}", "document": f"à côté, {n * 7}"} for n in range(20)]

    def other(text: str) -> str:
        wide = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
        return text.translate(wide) if form == "wide" else unicodedata.normalize(form, text.upper())

    both = [{key: write(value) for key, value in row.items()} for row in rows for write in (str, other)]
    metrics, out = prepared(both, make_context, tmp_path, train=20, test=20)
    folded = [
        {unicodedata.normalize("NFKC", text).lower() for text in found}
        for found in (out.queries["text"], out.benchmark("t.queries")["text"])
    ]
    assert not folded[0] & folded[1]
    assert (metrics["t.train"], metrics["t.test"], metrics["removed_texts"]) == (20, 20, 0)


def test_stated_splits_that_repeat_each_other_are_the_cause_that_is_named(
    make_context: MakeContext, tmp_path: Path
) -> None:
    rows = [{**row, "split": "test"} for row in plain(10)]
    rows += [{"query": row["query"].upper(), "document": row["document"], "split": "train"} for row in plain(10)]
    with pytest.raises(
        UserError, match=r"t\.train: 10 requested, .*: 10 queries share a text .* column split; correct"
    ):
        prepared(rows, make_context, tmp_path, train=10, test=10)


def template(count: int, chinese: bool = False) -> Rows:
    things = [a + b for a in "退换发订优积配支付登" for b in "货票单惠分送账录款物"]
    if chinese:
        text = "关于{}的问题请您先登录网站在个人中心页面里面点击管理按钮然后按照提示一步一步填写相关信息提交"
        return [{"query": f"怎么办理{thing}", "document": text.format(thing)} for thing in things[:count]]
    text = (
        "for number {} please log in, open the page of your orders, press the button and follow each of the steps there"
    )
    return [{"query": f"how about {n}", "document": text.format(n)} for n in range(count)]


@pytest.mark.parametrize("chinese", [False, True], ids=["English", "Chinese"])
def test_a_templated_source_is_told_what_removed_it_and_the_cure_cures(
    chinese: bool, make_context: MakeContext, tmp_path: Path
) -> None:
    rows, asked = template(40, chinese), {"train": 25, "test": 10}
    message = r"25 near\); if they are variations of one template, raise prepare\.decontaminate\.threshold and containm"
    with pytest.raises(UserError, match=rf"t\.train: 25 requested, .*: all train texts match .* \({message}"):
        prepared(rows, make_context, tmp_path, **asked)
    metrics, _ = prepared(rows, make_context, tmp_path, {"threshold": 1.0, "containment": 1.0}, **asked)
    assert metrics["t.train"] == 25


def test_a_source_that_loses_most_of_its_rows_is_told_with_the_cure(
    make_context: MakeContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, _ = prepared(template(40) + plain(12), make_context, tmp_path, train=40, test=12)
    assert metrics["t.decontaminated"] > metrics["t.train"] > 0
    assert "t: more was removed than is left; if they are variations of one template, raise prepare" in caplog.text


def test_texts_of_test_in_another_task_are_the_cause_that_is_named(make_context: MakeContext, tmp_path: Path) -> None:
    sources = {name: local(write_jsonl(tmp_path / f"{name}.jsonl", plain(20))) for name in ("a", "b")}
    tasks = {"train": task("a", train=20), "held": task("b", test=20)}
    with pytest.raises(UserError, match=r"train\.train: 20 requested.*\(40 exact\); they are in the test data of this"):
        run_stages(make_context(sources, tasks))


def test_too_few_rows_for_the_splits(make_context: MakeContext, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.dev: 5 requested, .* it has 2 queries for train, dev, test; add rows"):
        prepared(plain(2), make_context, tmp_path, train=5, dev=5, test=5)


def test_labels_asked_and_given(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{"text": f"note {n}", "label": f"kind {n % 3}"} for n in range(30)]
    rows += [{"text": f"alone {n}", "label": f"single {n}"} for n in range(6)]
    rows += [{"text": "note 1", "label": "kind 2"}, {"text": "NOTE 2", "label": "kind 0"}]
    wanted = {"kind": "clustering", "positives": "example", "train": 37}
    metrics, out = prepared(rows, make_context, tmp_path, **wanted)
    reasons = account(tmp_path)["because"]
    assert reasons == {"variants": 1, "other_labels": 1, "singletons": 6}
    assert (metrics["t.train"], metrics["t.singletons"]) == (31, 6)
    assert {"note 2", "NOTE 2"} <= set(out.queries["text"])
    alone = [{"text": f"alone {n}", "label": f"single {n}"} for n in range(6)]
    with pytest.raises(UserError, match=r"each of its texts is the only one of its label; set positives: label"):
        prepared(alone, make_context, tmp_path, **wanted)


def test_pairs_without_a_score(make_context: MakeContext, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^prepare\.tasks\.t: source s: has document, query; kind sts needs a score"):
        prepared(plain(20), make_context, tmp_path, kind="sts", train=10)


def test_what_was_asked_and_given_is_a_line_metrics_and_in_the_manifest(
    make_context: MakeContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = [*plain(50), *plain(50)[:5], {"query": "no answer", "document": "wrong", "score": 0}]
    rows = [{"score": 1, **row} for row in rows]
    prepared(rows, make_context, tmp_path, train=100, dev=5, test=20)
    assert (
        "t: train 40 (100 requested), dev 2 (5 requested), test 8 (20 requested); 50 queries for 125, so "
        "train 40, dev 2, test 8; 1 queries without a use: no score above 0 (or of positive_score and more); "
        "5 rows repeat a pair; "
    ) in caplog.text
    found = account(tmp_path)
    assert found["queries"] == 51
    assert found["asked"] == {"train": 100, "dev": 5, "test": 20}
    assert found["given"] == {"train": 40, "dev": 2, "test": 8}
    assert found["because"] == {"no_positive": 1, "repeated_rows": 5}


def test_a_pair_with_several_grades_has_the_best_and_is_told(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{**row, "score": grade} for row in plain(4) for grade in (2, 0, 1)]
    metrics, out = prepared(rows, make_context, tmp_path, train=4)
    assert (metrics["t.other_grades"], set(out.qrels["relevance"])) == (4, {2.0})


def test_labels_without_letters_are_told(make_context: MakeContext, tmp_path: Path) -> None:
    rows = [{"text": f"note {n}", "label": n % 3} for n in range(9)]
    metrics, _ = prepared(rows, make_context, tmp_path, kind="clustering", positives="label", train=9)
    assert metrics["t.bare_labels"] == 3
    words = [{**row, "label": f"kind {row['label']}"} for row in rows]
    assert (
        "t.bare_labels" not in prepared(words, make_context, tmp_path, kind="clustering", positives="label", train=9)[0]
    )
