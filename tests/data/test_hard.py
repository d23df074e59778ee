"""Hard documents: close to the questions, none of them an answer or a copy of one."""

from components.data.hard import hard_documents

ANSWER = "the red kite is a bird of prey that lives in Wales and southern Sweden"
NEAR = "the black kite is a bird that lives in Africa"
FAR = "interest rates rose again in spring"
COPY = ANSWER + " today"


def test_the_closest_come_first_and_copies_of_the_answer_are_passed_over() -> None:
    documents = [FAR, COPY, NEAR, "bread and butter"]
    assert hard_documents([("where does the red kite live", [ANSWER])], documents, 1) == [2]


def test_every_question_gives_one_before_any_gives_two() -> None:
    documents = ["kite bird one", "kite bird two", "bread loaf one", "bread loaf two"]
    found = hard_documents([("kite bird", ["x"]), ("bread loaf", ["y"])], documents, 2)
    assert {index // 2 for index in found} == {0, 1}


def test_no_more_than_asked_and_no_more_than_there_are() -> None:
    documents = ["kite one", "kite two", "kite three"]
    assert len(hard_documents([("kite", ["x"])], documents, 2)) == 2
    assert len(hard_documents([("kite", ["x"])], documents, 9)) == 3
    assert hard_documents([("kite", ["x"])], [], 9) == []
