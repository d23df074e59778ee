"""Hard distractor documents for a held-out corpus: BM25's best non-answers for the held-out queries.

A corpus that holds only answers makes ranking too easy. Queries contribute their next-best match in turn until `number`
is reached. A document that shares most of its words with an answer may be an answer itself and is skipped.
"""

import bm25s

from components.base.overlap import distinct_words, jaccard, normalise

_SAME = 0.6  # Jaccard overlap of words from which a document counts as a copy of the answer


def hard_documents(
    judged_queries: list[tuple[str, list[str]]], documents: list[str], number: int, depth: int = 20
) -> list[int]:
    """Indices of up to `number` documents, hardest first; `judged_queries` holds (query, its answers)."""
    if not documents:
        return []
    tokens = bm25s.tokenize(documents, stopwords="en", show_progress=False)
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    questions = bm25s.tokenize([question for question, _ in judged_queries], stopwords="en", show_progress=False)
    hits, _ = index.retrieve(questions, k=min(depth, len(documents)), show_progress=False)
    words = {}
    chosen: dict[int, None] = {}
    for column in range(hits.shape[1]):
        for (_, answers), row in zip(judged_queries, hits, strict=True):
            if len(chosen) == number:
                return list(chosen)
            candidate = int(row[column])
            if candidate not in chosen:
                words[candidate] = _words(documents[candidate])
                if all(jaccard(words[candidate], _words(answer)) < _SAME for answer in answers):
                    chosen[candidate] = None
    return list(chosen)


def _words(text: str) -> frozenset[str]:
    return distinct_words(normalise(text, punctuation=True))
