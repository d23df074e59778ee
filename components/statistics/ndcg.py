"""nDCG@10 with binary gains (Järvelin & Kekäläinen 2002), the score of dev queries in training and shot selection."""

import numpy as np

DEPTH = 10


def ndcg_at_10(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """nDCG@10 of each row: float64 [queries]. Equal similarities rank in column order.

    Args:
        similarity: float [queries, documents], higher ranks first.
        relevant: bool [queries, documents]; a row without a relevant document scores 0.

    >>> ndcg_at_10(np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]]), np.array([[1, 0, 0], [0, 0, 0]], dtype=bool)).tolist()
    [1.0, 0.0]
    """
    depth = min(DEPTH, similarity.shape[1])
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ranked = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    gained = (np.take_along_axis(relevant, ranked, axis=1) * discounts).sum(axis=1)
    ideals = np.array([discounts[:count].sum() for count in range(depth + 1)])  # by number of relevant documents
    ideal = ideals[np.minimum(relevant.sum(axis=1), depth)]
    return np.divide(gained, ideal, out=np.zeros_like(gained), where=ideal > 0)
