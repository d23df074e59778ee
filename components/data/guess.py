"""Settings for a row whose columns are of no known layout: names like ours in other cases, languages and places."""

from collections.abc import Iterator
from typing import Any

from components.data.cells import Raw, list_names
from components.data.grades import GRADES
from components.data.layouts import LISTS

Settings = dict[str, Any]  # of a source, without its origin
ASKED = (
    *("query", "question", "anchor", "title", "prompt", "input", "instruction", "name", "questions"),
    *("frage", "pregunta", "pergunta", "domanda", "вопрос", "質問", "问题", "질문"),
)
ANSWERED = (
    *("document", "answer", "passage", "response", "positive", "output", "chosen", "context", "content", "text"),
    *("page_content", "body", "description", "answers"),
    *("antwort", "respuesta", "réponse", "resposta", "risposta", "ответ", "回答", "答え", "答案", "답변"),
)


def guess_settings(raw: Raw, basic: Settings) -> Iterator[tuple[str, Settings]]:
    """Parallel lists, and pairs of a column that asks and one that answers: (about, settings)."""
    lists = [name for name, value in raw.values.items() if isinstance(value, list)]
    text = next((name for name in ("sentences", "text", "texts") if name in lists), None)
    label = next((name for name in ("labels", "label") if name in lists), None)
    if text and label:
        fields: dict[str, Any] = {"text": text, "label": label}
        yield "parallel lists of texts and labels", {**basic, "shape": "lists", "fields": fields}
    names = _names(raw.values)
    if {"instruction", "input", "output"} <= set(names):
        fields = {"query": [names["instruction"], names["input"]], "document": names["output"]}
        yield "instructions with an input, and outputs", {**basic, "fields": fields}
    asked = next((names[name] for name in ASKED if name in names), None)
    answered = next((names[name] for name in ANSWERED if name in names and names[name] != asked), None)
    if asked and answered in lists:
        fields = {"query": asked, "positives": answered}
        negatives = next((names[name] for name in ("negatives", "negative", "neg") if names.get(name) in lists), None)
        if negatives:
            fields["negatives"] = negatives
        yield f"{asked} with a list of {answered}", {**basic, "shape": LISTS, "fields": fields}
    elif asked and answered:
        grade = next((names[name] for name in names if name in GRADES), None)
        fields = {"query": asked, "document": answered} | ({"score": grade} if grade else {})
        yield f"{'graded ' if grade else ''}pairs of {asked} and {answered}", {**basic, "fields": fields}


def _names(values: dict[str, Any]) -> dict[str, str]:
    """The columns by their names in small letters, and those inside an object by their own."""
    inner = {part: f"{name}.{part}" for name, value in values.items() if isinstance(value, dict) for part in value}
    return {short.lower().strip("?: "): name for short, name in {**inner, **{name: name for name in values}}.items()}


def name_columns(raw: Raw) -> str:
    """An error line for a file of no known layout: its columns, and how to state which of them are texts."""
    cure = "name the texts with `fields: {query: COLUMN, document: COLUMN}`, and grades with `score: COLUMN` there"
    cure += " (or text and label; a.b is b inside a)"
    return (
        f"its columns are {list_names(raw.values)}, of no layout that is known: {cure}; docs/data.md lists the layouts"
    )
