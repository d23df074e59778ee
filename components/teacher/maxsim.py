"""MaxSim late-interaction scores (ColBERT, Khattab and Zaharia 2020).

score(q, d) = mean over the query's tokens of the largest cosine with a token of the document, in [-1, 1]. ColBERT
uses the sum; the mean puts queries of different lengths on one scale. All pairs of a document are one matrix product.
"""

from collections.abc import Sequence

import numpy as np

Matrix = np.ndarray


def maxsim(queries: Sequence[Matrix], document: Matrix) -> np.ndarray:
    """float32 [queries]: scores of one document, [tokens, dim], for queries, [tokens, dim] each.

    All float32 with L2-normalised rows.

    >>> east, north = np.eye(2, dtype=np.float32)
    >>> maxsim([np.stack([east, north]), east[None]], np.stack([east, east])).tolist()
    [0.5, 1.0]
    """
    starts = np.cumsum([0] + [len(query) for query in queries[:-1]])
    stacked = np.concatenate(queries)  # [tokens of all queries, dim]
    best = (stacked @ document.T).max(axis=1)
    lengths = np.array([len(query) for query in queries], dtype=np.float32)
    return np.asarray(np.add.reduceat(best, starts) / lengths, dtype=np.float32)
