"""Hard documents: close to the questions, none of them an answer or a copy of one."""

import random

import bm25s

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


def test_questions_with_the_same_hits_look_further_down() -> None:
    documents = [f"kite number {n}" for n in range(100)]
    assert len(hard_documents([("kite", ["x"]), ("a kite", ["y"])], documents, 60)) == 60


def test_the_order_is_bm25s_own() -> None:
    random_ = random.Random(0)
    words = ["kite", "wales", "the", "of", "a", "ICE", "été", "naïve", "x", "co-op", "under_score", "42"]
    documents = [" ".join(random_.choices(words, k=random_.randint(0, 12))) for _ in range(300)]
    questions = [*(" ".join(random_.choices(words, k=3)) for _ in range(15)), "unknown kite", "the", ""]
    options = {"stopwords": "en", "show_progress": False}
    index = bm25s.BM25()
    index.index(bm25s.tokenize(documents, **options), show_progress=False)
    for question in questions:
        hits, _ = index.retrieve(bm25s.tokenize([question], **options), k=20, show_progress=False)
        assert hard_documents([(question, ["other"])], documents, 20) == hits[0].tolist()
