"""nDCG@10 against trec_eval and against the sum of its definition."""

import numpy as np
import pytest

from components.statistics.ndcg import ndcg_at_10


def tables(documents: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(documents)
    return random.random((12, documents)), random.random((12, documents)) < share


@pytest.mark.parametrize("share", [0.1, 0.7])  # 0.7: more relevant documents than ranks
def test_equal_to_trec_eval(share: float) -> None:
    import pytrec_eval

    similarity, relevant = tables(30, share)
    relevant[:, 0] = True
    qrels = {str(q): {str(d): 1 for d in np.flatnonzero(row)} for q, row in enumerate(relevant)}
    results = {str(q): {str(d): float(score) for d, score in enumerate(row)} for q, row in enumerate(similarity)}
    judged = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(results)
    expected = [judged[str(q)]["ndcg_cut_10"] for q in range(len(similarity))]
    assert ndcg_at_10(similarity, relevant).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("documents", "share"), [(4, 0.3), (30, 0.1), (30, 0.7)])
def test_same_floats_as_one_query_at_a_time(documents: int, share: float) -> None:
    similarity, relevant = tables(documents, share)
    expected = []
    for scores, answers in zip(similarity, relevant, strict=True):
        gains = answers[np.argsort(-scores, kind="stable")[:10]].astype(float)
        discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
        ideal = discounts[: min(int(answers.sum()), len(gains))].sum()
        expected.append(float((gains * discounts).sum() / ideal) if ideal else 0.0)
    assert ndcg_at_10(similarity, relevant).tolist() == expected


def test_equal_similarities_rank_in_column_order() -> None:
    similarity = np.ones((2, 12), dtype=np.float32)
    relevant = np.zeros((2, 12), dtype=bool)
    relevant[0, 0] = relevant[1, 11] = True
    assert ndcg_at_10(similarity, relevant).tolist() == [1.0, 0.0]
