"""Retrieval and reranking for mteb on deduplicated texts: every distinct text is embedded and compared once.

mteb passes one row per query, duplicates included (MindSmall: 2.36 M rows, 37,162 distinct texts). Here queries and
documents are indices into their distinct texts; only the result that mteb scores has an entry per query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from mteb.types import PromptType

from components.base.errors import UserError

DOCUMENT_BLOCK = 50_000  # documents compared at once; bounds the score matrix, not the result
QUERY_BLOCK = 1_024
PAIR_BLOCK = 200_000  # pairs compared at once when candidates are given


class Embeds(Protocol):
    """Interface that `search` needs of a model."""

    def embed(self, texts: Sequence[str], task_metadata: Any, prompt_type: PromptType | None) -> np.ndarray: ...


@dataclass(frozen=True)
class Distinct:
    """Deduplicated texts: `texts[place[i]]` is row i's text."""

    texts: list[str]
    place: np.ndarray  # int64 [rows]

    @classmethod
    def of(cls, rows: Sequence[str]) -> "Distinct":
        """
        >>> Distinct.of(["a", "b", "a"]).place.tolist()
        [0, 1, 0]
        """
        number: dict[str, int] = {}
        place = np.fromiter((number.setdefault(text, len(number)) for text in rows), np.int64, len(rows))
        return cls(list(number), place)


@dataclass(frozen=True)
class Corpus:
    """Document ids and their distinct texts (title and text joined as in mteb)."""

    ids: list[str]
    texts: Distinct

    @classmethod
    def of(cls, rows: Any) -> "Corpus":
        """From mteb's corpus data set: columns id, text and perhaps title."""
        texts = list(rows["text"])
        if "title" in rows.column_names:
            texts = [f"{title} {text}" if title else text for title, text in zip(rows["title"], texts, strict=True)]
        return cls(list(rows["id"]), Distinct.of([text.strip() for text in texts]))


def query_texts(rows: Any) -> list[str]:
    """The text of each row of mteb's query data set, as mteb makes it: a conversation becomes one text, its turns in
    order behind the instruction; an instruction is appended to any other text."""
    texts = list(rows["text"])
    if texts and isinstance(texts[0], list):
        from mteb._create_dataloaders import _convert_conv_history_to_query

        return [str(_convert_conv_history_to_query(dict(row))["text"]) for row in rows]
    if "instruction" in rows.column_names:
        pairs = zip(texts, rows["instruction"], strict=True)
        texts = [text if extra is None else f"{text} {extra}" for text, extra in pairs]
    return texts


def search(
    model: Embeds, corpus: Corpus, queries: Any, task_metadata: Any, top_k: int, top_ranked: Any
) -> dict[str, dict[str, float]]:
    """Query id -> document id -> cosine similarity.

    Args:
        queries: mteb's query data set (columns id, text).
        top_ranked: query id -> candidate document ids; None searches the whole corpus.

    Raises:
        UserError: a reranking task without candidates, which mteb would silently turn into full-corpus retrieval.
    """
    if task_metadata.type == "Reranking" and top_ranked is None:
        raise UserError(
            f"{task_metadata.name}: a reranking task without its candidate lists (top_ranked) would be scored as "
            "full-corpus retrieval; make a mirror (foundry mirror FOLDER) instead of a bare HF cache"
        )
    asked = Distinct.of(query_texts(queries))
    query_vectors = torch.from_numpy(model.embed(asked.texts, task_metadata, PromptType.query))
    document_vectors = torch.from_numpy(model.embed(corpus.texts.texts, task_metadata, PromptType.document))
    if top_ranked is None:
        return _full(list(queries["id"]), asked, query_vectors, corpus, document_vectors, top_k)
    return _rerank(list(queries["id"]), asked, query_vectors, corpus, document_vectors, top_ranked, top_k)


def _full(
    ids: list[str], asked: Distinct, queries: torch.Tensor, corpus: Corpus, documents: torch.Tensor, top_k: int
) -> dict[str, dict[str, float]]:
    """The best `top_k` documents of every query."""
    place = torch.from_numpy(corpus.texts.place)
    best_scores, best_rows = [], []
    for start in range(0, len(queries), QUERY_BLOCK):
        scores, rows = _top(queries[start : start + QUERY_BLOCK], documents, place, top_k)
        best_scores.append(scores)
        best_rows.append(rows)
    values = torch.cat(best_scores).tolist()
    names = [[corpus.ids[row] for row in best] for best in torch.cat(best_rows).tolist()]
    return {name: dict(zip(names[at], values[at], strict=True)) for name, at in zip(ids, asked.place, strict=True)}


def _top(
    queries: torch.Tensor, documents: torch.Tensor, place: torch.Tensor, top_k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scores, document rows) [n, top_k] for a block of queries, merged over blocks of documents."""
    scores = torch.empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(place), DOCUMENT_BLOCK):
        part = torch.arange(start, min(start + DOCUMENT_BLOCK, len(place)))
        block = queries @ documents[place[part]].T  # [n, block]
        scores = torch.cat([scores, block], dim=1)
        rows = torch.cat([rows, part.expand(len(queries), -1)], dim=1)
        scores, kept = scores.topk(min(top_k, scores.shape[1]), dim=1)
        rows = rows.gather(1, kept)
    return scores, rows


def _rerank(
    ids: list[str],
    asked: Distinct,
    queries: torch.Tensor,
    corpus: Corpus,
    documents: torch.Tensor,
    top_ranked: Mapping[str, Sequence[str]],
    top_k: int,
) -> dict[str, dict[str, float]]:
    """Scores of every query's own candidates; a query without candidates gets none, as in mteb."""
    row_of = {name: row for row, name in enumerate(corpus.ids)}
    candidates = [list(top_ranked.get(name, ())) for name in ids]
    sizes = np.array([len(names) for names in candidates], dtype=np.int64)
    left = torch.from_numpy(np.repeat(asked.place, sizes))
    rows = np.fromiter((row_of[name] for names in candidates for name in names), np.int64, int(sizes.sum()))
    right = torch.from_numpy(corpus.texts.place[rows])
    scores = torch.empty(len(left))
    for start in range(0, len(left), PAIR_BLOCK):
        part = slice(start, start + PAIR_BLOCK)
        scores[part] = (queries[left[part]] * documents[right[part]]).sum(dim=1)
    if torch.isnan(scores).any():
        raise ValueError("the model returned NaN")
    values = np.split(scores.numpy(), np.cumsum(sizes)[:-1])
    return {
        name: _best(names, value.tolist(), top_k) for name, names, value in zip(ids, candidates, values, strict=True)
    }


def _best(names: list[str], scores: list[float], top_k: int) -> dict[str, float]:
    if len(names) <= top_k:
        return dict(zip(names, scores, strict=True))
    order = sorted(range(len(names)), key=lambda i: -scores[i])[:top_k]
    return {names[i]: scores[i] for i in order}
