"""Splits: shared answers, grades of zero, near copies, ids in common, README's numbers, further documents."""

import unicodedata
from random import Random

from tests.data.cases.case import Case, Check, collection, devices, lines
from tests.data.conftest import Rows
from tests.data.prepared import Outputs

ENGLISH = ["returns", "exchanges", "invoices", "shipping", "coupons", "points", "refunds", "orders", "reviews", "gifts"]
CHINESE = ["退货", "换货", "发票", "运费", "优惠", "积分", "退款", "订单", "评价", "礼品"]
NEAR = {
    "en": (
        "how do I handle {}",
        "tell me how {} work",
        "For questions about {} please sign in to the web site first, open your personal page, press the button that "
        "manages {} and fill in the form step by step, our staff will contact you within {} working days",
        ("three", "two or three"),
    ),
    "zh": (
        "怎么办理{}",
        "请问{}如何操作呢",
        "关于{}的问题请您先登录网站在个人中心页面里面点击{}管理按钮然后按照提示一步一步填写相关信息提交以后客服人员会在{}个工作日之内联系您",
        ("三", "两三"),
    ),
}
TEMPLATE = (
    r"t\.train: 25 requested, and source 's' gives none: all train texts match an evaluation text \(25 near\); if they "
    r"are variations of one template, raise prepare\.decontaminate\.threshold and containment"
)
FRENCH = "Où est la bibliothèque numéro {} près du café?"
THINGS = ["router", "phone", "printer", "camera", "lamp", "watch", "radio", "scale", "fan", "drill", "mixer", "clock"]
ACTIONS = ["reset", "clean", "update", "charge", "pair", "mute", "store", "open", "test", "repair", "sell", "upgrade"]


def faq(answers: int, count: int) -> Rows:
    return [
        {"query": f"question {n} about thing {n % answers}", "document": f"The one answer {n % answers}."}
        for n in range(count)
    ]


def near_copies(language: str) -> Rows:
    """35 questions; each answer is a near copy of every other."""
    first, second, answer, days = NEAR[language]
    things = ENGLISH if language == "en" else CHINESE
    space = " " if language == "en" else ""
    every = [f"{one}{space}{other}" if other else one for other in ("", *things[:3]) for one in things][:35]
    return [
        {"query": (first, second)[n % 2].format(thing), "document": answer.format(thing, thing, days[n % 2])}
        for n, thing in enumerate(every)
    ]


def judged_none() -> dict[str, str]:
    numbers = range(200)
    return collection(
        [{"doc_id": f"d{n}", "text": f"Passage {n * 7919 % 1009} tells of {n}."} for n in range(300)],
        [{"query_id": f"q{n}", "text": f"what of {n * 104729 % 1013} and {n}"} for n in numbers],
        [{"query_id": f"q{n}", "doc_id": f"d{n}", "relevance": n % 2} for n in numbers],
    )


def stated() -> Rows:
    return [
        {"query": f"q {n} asked", "document": f"doc {n} answer", "split": "test" if n % 3 == 2 else "train"}
        for n in range(90)
    ]


def numeric_ids() -> dict[str, str]:
    texts = [f"Passage about subject number {n} and nothing else." for n in range(40)]
    texts[0], texts[1] = texts[35].upper(), texts[36].upper()
    return collection(
        [{"doc_id": f"{n}", "text": text} for n, text in enumerate(texts)],
        [
            {"query_id": f"{n}", "text": f"which subject is {n}", "split": "train" if n < 30 else "test"}
            for n in range(40)
        ],
        [{"query_id": f"{n}", "doc_id": f"{n}", "relevance": 1} for n in range(40)],
    )


def french() -> Rows:
    forms = (("NFC", "first", "train"), ("NFD", "second", "test"))
    return [
        {
            "query": unicodedata.normalize(form, FRENCH.format(n)),
            "document": f"answer {n} of the {kind} kind",
            "split": split,
        }
        for form, kind, split in forms
        for n in range(10)
    ]


def many_documents(documents: int, queries: int) -> dict[str, str]:
    """Each text has words of its own; a question asks for the first three of its document."""
    random, syllables = Random(1), [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = [a + b for a in syllables for b in syllables]
    texts = [random.sample(words[:120], 6) + random.sample(words, 6) for _ in range(documents)]
    return collection(
        [{"doc_id": f"d{n}", "text": " ".join(text)} for n, text in enumerate(texts)],
        [{"query_id": f"q{n}", "text": " ".join(text[:3])} for n, text in enumerate(texts[:queries])],
        [{"query_id": f"q{n}", "doc_id": f"d{n}", "relevance": 1} for n in range(queries)],
    )


def things_and_actions() -> Rows:
    return [
        {
            "query": f"how do I {action} my {thing}",
            "document": f"To {action} the {thing}, open the {thing} menu, choose {action} and wait for a green light.",
        }
        for thing in THINGS
        for action in ACTIONS
    ]


def two_ids() -> dict[str, str]:
    """60 questions; every second one asks for a passage that another has under another id."""
    pairs = [(letters, n) for letters in (("q", "d"), ("r", "e")) for n in range(30)]
    return collection(
        [{"doc_id": f"{d}{n}", "text": f"Town {n} lies on river {n} in the north."} for (_, d), n in pairs],
        [{"query_id": f"{q}{n}", "text": f"where is town {n}"} for (q, _), n in pairs],
        [{"query_id": f"{q}{n}", "doc_id": f"{d}{n}", "relevance": 1} for (q, d), n in pairs],
    )


def has_documents(documents: int) -> Check:
    def check(out: Outputs, metrics: dict[str, float]) -> None:
        assert len(out.benchmark("t.corpus")) == documents

    return check


def removed_two_documents(out: Outputs, metrics: dict[str, float]) -> None:
    listed = out.frame("decontamination").select("id", "table").rows()
    assert listed == [("t-0", "corpus"), ("t-1", "corpus")]


def copies_share_a_split(out: Outputs, metrics: dict[str, float]) -> None:
    assert not set(out.queries["text"]) & set(out.benchmark("t.queries")["text"])
    assert len(set(out.queries["text"])) < len(out.queries)


def dev_is_of_train(out: Outputs, metrics: dict[str, float]) -> None:
    of_test = {row["query"] for row in stated() if row["split"] == "test"}
    assert set(out.queries["split"]) == {"train", "dev"}
    assert not of_test & set(out.queries["text"])


COLLECTION = {"format": "collection"}
WHOLE = {"prepare": {"threshold": 1.0, "containment": 1.0}}

CASES = {
    "30-faq-1x60: one answer to 60 questions": Case(
        {"data.jsonl": lines(faq(1, 60))},
        (40, 5, 10),
        given=(40, 5, 10),
        says=("1 documents are answers in training and in test: few answers have most queries, so the split is by q",),
    ),
    "30-faq-3x200: three answers to 600 questions": Case(
        {"data.jsonl": lines(faq(3, 600))},
        (400, 50, 100),
        given=(400, 50, 100),
        says=("3 documents are answers in training and in test",),
    ),
    "31-grade0-queries: half of the queries are judged 0 only": Case(
        judged_none(),
        (60, 10, 20),
        COLLECTION,
        given=(60, 10, 20),
        says=("100 queries without a use: no score above 0",),
    ),
    "60c-zh-decontaminate: Chinese near copies of test documents": Case(
        {"data.jsonl": lines(near_copies("zh"))}, (25, 0, 10), refused=TEMPLATE, cure=WHOLE, given=(24, 0, 10)
    ),
    "60d-en-decontaminate: the same in English": Case(
        {"data.jsonl": lines(near_copies("en"))}, (25, 0, 10), refused=TEMPLATE, cure=WHOLE, given=(25, 0, 10)
    ),
    "67-duplicate-ids: one passage and one question under two ids": Case(
        two_ids(),
        (50, 0, 8),
        COLLECTION,
        given=(50, 0, 8),
        says=("60 texts differ from another by case, spaces or id only",),
        holds=copies_share_a_split,
    ),
    "71b-stated-split: the source states train and test, dev is asked": Case(
        {"data.jsonl": lines(stated())},
        (60, 10, 30),
        given=(50, 10, 30),
        says=("90 queries for 100, so train 50, dev 10, test 30",),
        holds=dev_is_of_train,
    ),
    "90-shared-ids: queries and documents share ids": Case(
        numeric_ids(),
        (30, 0, 10),
        COLLECTION,
        given=(28, 0, 10),
        says=("2 queries removed with texts that match an evaluation text",),
        holds=removed_two_documents,
    ),
    "92-readme-snippet-300: README's numbers on 300 rows": Case(
        {"faq.jsonl": lines(devices(300))},
        (5000, 200, 500),
        given=(240, 17, 43),
        says=("300 queries for 5,700, so train 240, dev 17, test 43",),
    ),
    "94-huge-corpus: a large corpus of 20 queries": Case(
        many_documents(1500, 20),
        (10, 5, 5),
        COLLECTION,
        {"test_documents": 700, "dev_documents": 200},
        given=(10, 5, 5),
        holds=has_documents(700),
    ),
    "94b-hard-documents-eat-train: 1,500 documents, 300 queries": Case(
        many_documents(1500, 300),
        (230, 20, 50),
        COLLECTION,
        {"test_documents": 800, "dev_documents": 350},
        given=(230, 20, 50),
        holds=has_documents(800),
    ),
    "96-nfc-nfd: a question in two Unicode forms": Case(
        {"data.jsonl": lines(french())},
        (10, 0, 10),
        refused=r"t\.train: 10 requested, .*: 10 queries share a text \(but for case, spaces and character forms\) wi",
        cure={"files": {"data.jsonl": lines([{**row, "split": ""} for row in french()])}},
        given=(10, 0, 10),
    ),
    "97-select-shots-crash: a FAQ of one template": Case(
        {"faq.jsonl": lines(things_and_actions())},
        (90, 14, 27),
        says=("select_shots will choose none: each of ",),
    ),
}
