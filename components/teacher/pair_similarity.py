"""Similarities of pairs of texts whose sides are encoded apart."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Encode = Callable[[list[str]], Any]  # texts -> [n, width], dense or sparse (scipy) rows


def pair_similarities(pairs: Sequence[tuple[str, str]], encode_queries: Encode, encode_documents: Encode) -> np.ndarray:
    """[n]: dot product of the two rows of each pair; a text of several pairs is encoded once."""
    sides = []
    for place, encode in enumerate((encode_queries, encode_documents)):
        rows = {text: i for i, text in enumerate(dict.fromkeys(pair[place] for pair in pairs))}
        sides.append(encode(list(rows))[[rows[pair[place]] for pair in pairs]])
    return np.asarray((sides[0] * sides[1]).sum(axis=1))
