"""Each kind of task is measured as it is evaluated, on texts in the prompt that evaluation uses."""

import numpy as np
import pytest

from components.contracts.shots import Shot
from components.data.shot_pool import Candidate
from components.fewshot.dev import NoMeasureError, dev_set
from components.fewshot.measures import Probe
from tests.evaluation.fakes import TOPICS, HashEncoder, sentence
from tests.fewshot.tables import Pair, inputs_of, task_of

RANDOM = np.random.default_rng(5)
SHOT = [Shot("a", "b")]


def found(size: int = 8) -> list[Pair]:
    """Retrieval: each dev query has its own held-out document."""
    texts = [sentence(RANDOM, list(TOPICS)[i % 3]) for i in range(size)]
    return [Pair(text, f"{text} again", "dev", held_out=True) for text in texts] + [Pair("x", "y")]


def sorted_texts(name: bool, dev: int = 12) -> list[Pair]:
    """Texts on three topics with the topic as positive; `name`: and as label, else the positive alone tells it."""
    pairs = []
    for i in range(30 + dev):
        topic = list(TOPICS)[i % 3]
        split = "train" if i < 30 else "dev"
        pairs.append(Pair(f"{sentence(RANDOM, topic)} {i}", topic, split, label=topic if name else None))
    return pairs


def test_documents_are_the_held_out_ones_and_encoded_once() -> None:
    dev, encoder = dev_set(inputs_of(found()), task_of("retrieval"), 100, 0), HashEncoder()
    assert dev.measure.name == "ndcg_at_10"
    assert dev.values(encoder, ()).mean() > 0.9
    dev.values(encoder, SHOT)
    documents = [texts for side, texts, _, _ in encoder.calls if side == "document"]
    assert [len(texts) for texts in documents] == [8]


def test_symmetric_documents_get_the_instruction_and_no_shots() -> None:
    dev, encoder = dev_set(inputs_of(found()), task_of("retrieval", symmetric=True), 100, 0), HashEncoder()
    dev.values(encoder, SHOT)
    assert [(call[2], call[3]) for call in encoder.calls] == [("Find", ()), ("Find", tuple(SHOT))]


def test_query_limit() -> None:
    dev = dev_set(inputs_of(found(9)), task_of("retrieval"), 7, 0)
    assert (len(dev.queries), len(dev.documents)) == (7, 9)


@pytest.mark.parametrize("name", [True, False], ids=["with labels", "labels are the positives"])
def test_classification_is_the_accuracy_of_a_classifier_on_prompted_texts(name: bool) -> None:
    dev, encoder = dev_set(inputs_of(sorted_texts(name)), task_of("classification"), 100, 0), HashEncoder()
    assert isinstance(dev.measure, Probe)
    values = dev.values(encoder, SHOT)
    assert set(values) <= {0.0, 1.0}
    assert len(values) == 12
    assert values.mean() > 0.6
    assert {call[3] for call in encoder.calls if call[1]} == {tuple(SHOT)}, "all texts stand behind the shots"
    assert len(dev.queries) == 3 * 8 + 12


def test_a_classifier_is_fitted_on_texts_that_cannot_be_shots_where_there_are_enough() -> None:
    inputs = inputs_of(sorted_texts(True))
    pool = [Candidate(row, 0, "", "", None) for row in range(6)]  # two of each topic
    dev = dev_set(inputs, task_of("classification"), 100, 0, pool)
    assert not {inputs.queries["text"][one.query_row] for one in pool} & set(dev.queries)


def test_clustering_is_the_v_measure_of_prompted_texts() -> None:
    dev, encoder = dev_set(inputs_of(sorted_texts(True)), task_of("clustering", symmetric=True), 100, 0), HashEncoder()
    values = dev.values(encoder, SHOT)
    assert dev.measure.name == "v_measure"
    assert 0.3 < values.mean() <= 1
    assert np.array_equal(values, dev.values(encoder, SHOT))


def test_sts_is_the_correlation_with_the_grades_zero_ones_too() -> None:
    pairs = []
    for i in range(12):
        left = sentence(RANDOM, "garden").split()
        other = sentence(RANDOM, "harbour").split()
        kept = round(i % 6 / 5 * len(left))
        pairs.append(Pair(" ".join(left), " ".join([*left[:kept], *other[kept:]]), "dev", float(i % 6), held_out=True))
    dev = dev_set(inputs_of(pairs), task_of("sts", symmetric=True), 100, 0)
    values = dev.values(HashEncoder(), ())
    assert dev.measure.name == "spearman"
    assert len(values) == 12
    assert values.mean() > 0.8


def test_a_model_with_one_vector_for_all_texts_has_no_correlation() -> None:
    class Collapsed(HashEncoder):
        def _encode(self, texts: object, prompt: str) -> np.ndarray:
            return np.ones((len(texts), 4), np.float32) / 2  # type: ignore[arg-type]  # of sequences

    pairs = [Pair(f"q{i}", f"d{i}", "dev", float(i % 3), held_out=True) for i in range(9)]
    assert not dev_set(inputs_of(pairs), task_of("sts"), 100, 0).values(Collapsed(), ()).any()


def test_pairs_of_one_grade_are_ranked() -> None:
    assert dev_set(inputs_of(found()), task_of("sts"), 100, 0).measure.name == "ndcg_at_10"


def test_a_document_below_the_positive_grade_is_not_relevant() -> None:
    pairs = [*found(), *(Pair(f"low {i}", f"unrelated {i}", "dev", 0.5, held_out=True) for i in range(4))]
    dev = dev_set(inputs_of(pairs), task_of("pair_classification", positive_score=1.0), 100, 0)
    assert len(dev.queries) == 8
    assert not any(text.startswith("low") for text in dev.queries)


def test_clustering_pairs_without_a_category_are_ranked_over_documents_of_training() -> None:
    pairs = [Pair(f"{text} one", text, "dev" if i < 8 else "train") for i, (text, *_) in enumerate(found(16))]
    dev = dev_set(inputs_of(pairs), task_of("clustering"), 100, 0)
    assert dev.measure.name == "ndcg_at_10"
    assert dev.values(HashEncoder(), ()).mean() > 0.5


@pytest.mark.parametrize(
    ("kind", "pairs", "message"),
    [
        ("retrieval", [Pair("q", "d")], "0 dev examples"),
        ("retrieval", [Pair(f"q{i}", f"d{i}", "dev", held_out=True) for i in range(5)], "5 dev examples .* takes 6"),
        ("retrieval", [Pair(f"q{i}", "d", "dev", 0.0, held_out=True) for i in range(9)], "0 dev examples"),
        ("clustering", [Pair(f"q{i}", "d", "dev", label="a") for i in range(9)], "dev texts have one label"),
        ("classification", [Pair(f"q{i}", "d", "dev", label=str(i % 2)) for i in range(9)], "of 0 labels"),
    ],
)
def test_a_task_that_cannot_be_measured_says_why(kind: str, pairs: list[Pair], message: str) -> None:
    with pytest.raises(NoMeasureError, match=message):
        dev_set(inputs_of(pairs), task_of(kind), 100, 0)
