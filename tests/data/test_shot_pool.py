"""No text of dev or test may become a shot, also not as a near copy."""

import re
from pathlib import Path

import pytest

from components.data.shot_pool import Candidate, Guard, clean_pools, held_out_guard, task_pool
from tests.fewshot.tables import Pair, inputs_of, task_of

HELD_OUT = "Is the tower of London really still guarded by seven ravens and forty yeoman warders today?"


@pytest.mark.parametrize(
    "copy",
    [
        HELD_OUT,
        f"  {HELD_OUT.upper()} ",
        HELD_OUT.replace("seven", "6"),
        f"Tell me please: {HELD_OUT} Thank you for the answer, it would help me a lot with my homework",
        " ".join(HELD_OUT.split()[:10]),
    ],
    ids=["same", "case and spaces", "one word changed", "quoted in a longer text", "cut"],
)
def test_copies_are_found(copy: str) -> None:
    assert Guard([HELD_OUT]).repeats(copy)


@pytest.mark.parametrize("text", ["Is the tower of London open on Sundays for visitors with dogs?", "ravens", ""])
def test_other_texts_are_not(text: str) -> None:
    assert not Guard([HELD_OUT]).repeats(text)


def test_copies_are_found_in_scripts_without_spaces_and_in_any_character_form() -> None:
    guard = Guard(["请问我的路由器密码忘记了以后应该怎么重置才好", "ルーターの パスワードを 忘れました"])
    assert guard.repeats("您好，请问我的路由器密码忘记了以后应该怎么重置？")
    assert guard.repeats("ﾙｰﾀｰの　ﾊﾟｽﾜｰﾄﾞを 忘れました")
    assert not guard.repeats("请问我买的衣服不合身可以退货吗")


def test_short_texts_only_count_when_equal() -> None:
    guard = Guard(["What is gold?"])
    assert guard.repeats("what is  gold?")
    assert not guard.repeats("What is gold worth?")


def test_a_candidate_is_dropped_for_its_query_or_its_response_but_label_names_pass() -> None:
    guard = Guard([HELD_OUT, "sport"])
    pool = [
        Candidate(0, 1, HELD_OUT, "an answer", None),
        Candidate(1, 2, "a question", HELD_OUT, None),
        Candidate(2, 3, "a match was played", "sport", "sport"),
    ]
    assert [one.query_row for one in guard.clean(pool, frozenset(["sport"]))] == [2]


def test_the_pool_has_the_best_graded_pair_of_a_query_and_none_below_the_grade() -> None:
    pairs = [Pair("a", "same", grade=5.0), Pair("a", "alike", grade=4.0), Pair("b", "somewhat", grade=3.9)]
    pairs += [Pair("c", "unrelated", grade=0.0), Pair("d", "close", grade=4.0), Pair("e", "held out", "dev", 5.0)]
    found = {(one.query, one.response) for one in task_pool(inputs_of(pairs), task_of("sts"), 10, 0)}
    assert found == {("a", "same"), ("d", "close")}  # 4 of 5 and more
    stated = {one.query for one in task_pool(inputs_of(pairs), task_of("sts", positive_score=3.0), 10, 0)}
    assert stated == {"a", "b", "d"}
    assert {one.query for one in task_pool(inputs_of(pairs), task_of("retrieval"), 10, 0)} == {"a", "b", "d"}


def test_a_shot_of_clustering_shows_the_category_and_one_of_classification_the_label() -> None:
    pairs = [Pair(f"text {i}", f"neighbour {i}", label="sport") for i in range(3)]
    assert {one.response for one in task_pool(inputs_of(pairs), task_of("clustering"), 10, 0)} == {"sport"}
    bare = [Pair(f"text {i}", "spam" if i % 2 else "ham") for i in range(8)]
    pool = task_pool(inputs_of(bare), task_of("classification"), 10, 0)
    assert all(one.label == one.response for one in pool)
    assert {one.response for one in pool} == {"spam", "ham"}
    texts = [Pair(f"text {i}", f"other {i}") for i in range(8)]
    assert {one.label for one in task_pool(inputs_of(texts), task_of("classification"), 10, 0)} == {None}


@pytest.mark.parametrize(
    ("pairs", "kind", "message"),
    [
        ([Pair("q", "d", "dev")], "retrieval", r"1 dev queries, and a choice takes 6; raise prepare\.tasks\.t\.dev"),
        ([Pair(f"q{i}", "d", "dev", label="a") for i in range(6)], "clustering", "one label"),
        ([Pair(f"q{i}", "d", "dev") for i in range(6)], "retrieval", "no training pair reaches"),
        (
            [*(Pair(f"q{i}", "d", "dev") for i in range(6)), Pair("q1", "d")],
            "retrieval",
            "each of 1 training pairs repeats",
        ),
    ],
)
def test_why_a_task_gets_no_shots(tmp_path: Path, pairs: list[Pair], kind: str, message: str) -> None:
    inputs = inputs_of(pairs)
    inputs.queries.write_parquet(tmp_path / "queries.parquet")
    inputs.corpus.write_parquet(tmp_path / "corpus.parquet")
    pools, problems = clean_pools(inputs, {"t": task_of(kind)}, held_out_guard(tmp_path), 10, 0)
    assert pools == {}
    assert re.search(message, problems["t"])
