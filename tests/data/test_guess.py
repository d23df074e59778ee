"""`foundry data inspect` on exports of other programs: pairs are found by the names of their columns, or told."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.data.inspection import inspect_path, paste_block
from tests.data.test_formats import write

Q, A = "how do I reset it", "Hold the button."
EXPORTS: dict[str, tuple[str, Any]] = {
    "Notion": ("faq.csv", f"Name,Created,Answer\n{Q},today,{A}\n"),
    "Excel in German": ("faq.csv", f"Frage;Antwort\n{Q};{A}\n"),
    "Japanese": ("faq.csv", f"質問,回答\n{Q},{A}\n"),
    "pipes": ("faq.csv", f"Question|Answer\n{Q}|{A}\n"),
    "Zendesk": ("faq.json", {"count": 1, "next_page": None, "articles": [{"id": 1, "title": Q, "body": A}]}),
    "Elasticsearch dump": ("faq.jsonl", {"_id": "1", "_source": {"question": Q, "answer": A}}),
    "LangChain": ("faq.jsonl", {"page_content": A, "metadata": {"question": Q}}),
    "Alpaca": ("faq.jsonl", {"instruction": Q, "input": "", "output": A}),
    "preferences": ("faq.jsonl", {"prompt": Q, "chosen": A, "rejected": "x"}),
    "list of answers": ("faq.jsonl", {"question": Q, "answers": [A]}),
}


def written(folder: Path, name: str, content: Any) -> Path:
    return write(folder / name, content if isinstance(content, str) else json.dumps(content) + "\n")


@pytest.mark.parametrize("export", EXPORTS)
def test_the_pairs_of_an_export_are_found(export: str, tmp_path: Path) -> None:
    finding = inspect_path(written(tmp_path, *EXPORTS[export]))
    assert finding.problem == ""
    assert finding.rows.select("query", "document").rows() == [(Q, A)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            {"messages": []},
            "its columns are messages, of no layout that is known: name the texts with `fields",
        ),
        (
            "a.json",
            {"took": 1, "hits": {"hits": [{"_id": 1}]}},
            r"its rows lie in hits\.hits: write that list to a file",
        ),
        (
            "a.csv",
            "Our questions and their answers,,\nquestion,answer,x\n",
            "line 1 has empty cells: .*; remove the lines",
        ),
        ("a.xlsx", "PK", "a workbook; save the sheet as CSV UTF-8"),
    ],
)
def test_what_to_do_with_another_export_is_one_line(name: str, content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        inspect_path(written(tmp_path, name, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("label", "positives"), [("sports", "label"), ("3", "example"), ("B", "example")])
def test_the_task_of_labelled_texts_names_its_positives(label: str, positives: str, tmp_path: Path) -> None:
    finding = inspect_path(write(tmp_path / "a.csv", f"text,label\n{A},{label}\n{Q},{label}\n"))
    assert paste_block(finding, "a.csv", "a")["prepare"]["tasks"]["a"]["positives"] == positives
