"""No text of dev or test may become a shot, also not as a near copy."""

import pytest

from components.fewshot.pool import Candidate, Guard

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
