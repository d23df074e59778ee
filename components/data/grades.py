"""Columns that may be grades and would be read as something else: they are refused, and the line says how to name them.

A pair whose grade is not read counts as right, so that a pair judged wrong would be learnt as a right one. What
`fields` or `values` state is the user's own choice and is not doubted.
"""

from collections.abc import Mapping

import polars as pl

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw
from components.data.layouts import NLI_CLASSES

GRADES = frozenset(
    (
        *("score", "grade", "relevance", "relevance_score", "relevance_label", "is_relevant", "is_positive"),
        *("gold_label", "gold_score", "similarity", "similarity_score", "relatedness_score", "is_duplicate"),
        *("is_match", "is_correct", "is_answer", "judgement", "judgment", "qrel"),
    )
)
_YES_OR_NO = frozenset(("0", "1", "-1", "0.0", "1.0", "-1.0", "true", "false", "yes", "no"))
_CLASSES = ({0.0, 1.0, 2.0}, {-1.0, 0.0, 1.0, 2.0})  # of NLI, with -1 for rows without one


def refuse_unread_grade(raw: Raw, found: Mapping[str, str], params: SourceParams) -> None:
    """Raise a UserError if pairs have no score, and a column that nothing reads has the name of one.

    Args:
        found: our column: the file's columns, as an error calls them.
    """
    if not {"query", "document"} <= set(found) or "score" in found or {"query", "document"} <= set(params.fields):
        return
    for name in raw.values:
        if name.lower() in (*GRADES, "label") and name not in found.values():
            named = f"query: {found['query']}, document: {found['document']}"
            cure = f"set `fields: {{{named}, score: {name}}}`, or `fields: {{{named}}}` if it is none"
            raise raw.error(name, f"looks like the grade of a pair, and nothing reads it: {cure}")


def refuse_doubtful_grades(rows: pl.DataFrame, first: Raw, found: Mapping[str, str], params: SourceParams) -> None:
    """Raise a UserError for labels of pairs that are 0 and 1 only, and for scores that are the classes of NLI."""
    columns = set(rows.columns)
    if {"query", "document", "label"} <= columns and "score" not in columns and "label" not in params.fields:
        values = set(rows["label"].drop_nulls().str.to_lowercase().unique())
        if values and values <= _YES_OR_NO:
            named = f"query: {found['query']}, document: {found['document']}"
            what = f"holds {' and '.join(sorted(values))} only, beside query and document, as grades do"
            cure = f"set `fields: {{{named}, score: label}}`, or `{{{named}, label: label}}` if these are classes"
            raise UserError(f"{first.file}: field label: {what}: {cure}")
    is_stated = "score" in params.fields or "score" in params.values
    if found.get("score") == "label" and not is_stated and set(rows["score"].drop_nulls().unique()) in _CLASSES:
        what = "holds 0, 1 and 2 only, as classes of NLI do, where 0 is a right pair"
        cure = f"set `values: {{score: {NLI_CLASSES}}}`, or `fields: {{score: label}}` if these are grades"
        raise UserError(f"{first.file}: field label: {what}: {cure}")
