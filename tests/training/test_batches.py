"""Batches: a function of (seed, step); one task each; no leak through the shots."""

import collections
import dataclasses

import numpy as np
import pytest

from components.base.errors import UserError
from components.config import parse_config
from components.contracts.tasks import Task
from components.training.batches import Batches
from tests.samples import small_parameters
from tests.training.made_data import Listed, examples_of, training_data

SHOWN = {"train.shots": {"max": 2, "share": 2}}


def batches(data, seed=0, **changes) -> Batches:
    return Batches(data, parse_config(small_parameters(**{"train.steps": 60, **changes}), "test").train, seed)


def test_a_step_is_the_same_whenever_it_is_asked_for(data):
    first, again = batches(data), batches(data)
    again[7]
    for step in (3, 0):
        one, other = first[step], again[step]
        assert (one.task, one.shots) == (other.task, other.shots)
        assert (one.queries.tolist(), one.documents.tolist()) == (other.queries.tolist(), other.documents.tolist())
    assert any(batches(data, seed=1)[s].queries.tolist() != first[s].queries.tolist() for s in range(5))


def test_an_epoch_shows_every_example_once(data):
    made = batches(data, **{"train.batch_queries": 5})
    words = [made[s] for s in range(60) if made[s].task.name == "words"]
    seen = [query for batch in words[:4] for query in batch.queries]  # 20 train queries
    assert len(seen) == len(set(seen)) == 20


def test_shots_never_hold_a_text_of_the_batch(data):
    made = batches(data, **{"train.shots": {"max": 4, "share": 2}})
    numbers = collections.Counter()
    for step in range(60):
        batch = made[step]
        texts = {*batch.query_texts, *batch.document_texts}
        for shots in batch.shots:
            numbers[len(shots)] += 1
            assert not texts & {text for shot in shots for text in (shot.query, shot.response)}
    assert set(numbers) == {0, 1, 2, 3, 4}


def test_a_rate_says_how_many_prefixes_have_shots(data):
    made = batches(data, **{"train.shots": {"max": 2, "rate": 0.2}})
    numbers = collections.Counter(made.draw_shot_number(step, chunk)[1] for step in range(100) for chunk in range(10))
    assert 150 < numbers[1] + numbers[2] < 250
    assert min(numbers[1], numbers[2]) > 60
    with pytest.raises(UserError, match="rate has no effect with max: 0"):
        batches(data, **{"train.shots": {"max": 0, "rate": 0.2}})


def test_shots_are_looked_for_until_they_are_found(data):
    made = batches(data, **{"train.shots": {"max": 4, "share": 1}})
    counted = Listed([""] * len(data.query_label), [])
    made.data = dataclasses.replace(data, query_text=counted)
    shots = made._shots(0, "words", set(), 20)
    assert len(counted.read) == sum(map(len, shots)) > 20


def test_shots_of_clustering_show_the_category():
    """As selection and evaluation do."""
    task = Task("task", "clustering", "Group.", True, 1.0, "none", "test")
    examples = examples_of([(i, i, [5 - i]) for i in range(6)])
    texts = [f"text {i}" for i in range(6)]
    made = training_data(task, examples, texts, [f"other {text}" for text in texts], [1.0] * 6)
    label = np.arange(6, dtype=np.int32) % 2
    made = dataclasses.replace(made, query_label=label, document_label=label, labels=["even", "odd"])
    batch = batches(made, **SHOWN, **{"train.batch_queries": 2})
    shots = {(shot.query, shot.response) for step in range(20) for sets in batch[step].shots for shot in sets}
    assert shots <= {(text, ("even", "odd")[i % 2]) for i, text in enumerate(texts)}
    assert len(shots) > 3


def test_shots_of_graded_pairs_are_pairs_of_high_grades():
    task = Task("task", "sts", "Do.", True, 1.0, "none", "test")
    examples = examples_of([(i, i, ()) for i in range(30)])
    texts = [f"left {i}" for i in range(30)], [f"right {i}" for i in range(30)]
    made = training_data(task, examples, *texts, [float(i % 6) for i in range(30)])
    shots = [shot for step in range(20) for sets in batches(made, **SHOWN)[step].shots for shot in sets]
    assert {int(shot.query.split()[1]) % 6 for shot in shots} == {4, 5}


def test_documents_of_the_same_label_are_relevant(data):
    batch = next(b for b in (batches(data)[s] for s in range(60)) if b.task.name == "animals")
    for i, query in enumerate(batch.queries):
        for j, document in enumerate(batch.documents):
            same = data.query_label[query] == data.document_label[document]
            assert bool(batch.targets.relevant[i, j]) == same


def test_judged_documents_are_relevant_and_have_their_grade(data):
    made = batches(data)
    pairs = zip(data.judgements.query.tolist(), data.judgements.document.tolist(), strict=True)
    judged = set(pairs)
    batch = next(b for b in map(made.__getitem__, range(60)) if b.task.name == "words")
    expected = [[(q, d) in judged for d in batch.documents.tolist()] for q in batch.queries.tolist()]
    assert batch.targets.relevant.tolist() == expected
    assert batch.grades.tolist() == [1.0] * len(batch.queries)


def test_targets_point_at_the_documents_they_name(data):
    batch = batches(data)[0]
    mined = data.examples[batch.task.name]
    for i, query in enumerate(batch.queries):
        (row,) = np.flatnonzero(mined.query == query)
        own = slice(mined.starts[row], mined.starts[row + 1])
        score_of = dict(zip(mined.negatives[own].tolist(), mined.negative_scores[own].tolist(), strict=True))
        assert batch.documents[batch.targets.positive[i]] == mined.positive[row]
        for place, score in zip(batch.targets.group[i, 1:], batch.targets.teacher[i, 1:], strict=True):
            assert place < 0 or score == pytest.approx(score_of[batch.documents[place]])


def test_examples_with_fewer_negatives_leave_places_free():
    examples = examples_of([(0, 0, (4, 5)), (1, 1, ()), (2, 2, (5, 3, 4))])
    task = Task("task", "retrieval", "Do.", False, 1.0, "none", "test")
    made = training_data(task, examples, list("abc"), list("uvwxyz"), [1.0] * 3)
    weighted = dataclasses.replace(examples, weight=np.array([1.0, 0.5, 0.25]))
    made = dataclasses.replace(made, examples={"task": weighted})
    batch = batches(made, **{"train.negatives": 2, "train.batch_queries": 3})[0]
    assert dict(zip(batch.queries.tolist(), batch.targets.weight.tolist(), strict=True)) == {0: 1.0, 1: 0.5, 2: 0.25}
    groups = {
        int(query): [int(batch.documents[j]) if j >= 0 else None for j in group]
        for query, group in zip(batch.queries, batch.targets.group.tolist(), strict=True)
    }
    assert groups[0] == [0, 4, 5]
    assert groups[1] == [1, None, None]
    assert groups[2][0] == 2
    assert set(groups[2][1:]) < {3, 4, 5}
    assert len(set(batch.documents.tolist())) == len(batch.documents)


def test_alpha_weighs_tasks_by_size(data):
    def share(**changes) -> float:
        made = batches(data, **{"train.steps": 400, **changes})
        return sum(name == "animals" for name, *_ in made.schedule.plan) / 400

    assert share(**{"train.alpha": 0.0}) == pytest.approx(0.5, abs=0.08)
    data.tasks["animals"].__dict__["weight"] = 3.0
    try:
        assert share(**{"train.alpha": 0.0}) == pytest.approx(0.75, abs=0.08)
    finally:
        data.tasks["animals"].__dict__["weight"] = 1.0


def test_phases_keep_their_order(data):
    phases = [{"kinds": ["classification"], "fraction": 0.25}, {"kinds": ["retrieval"], "fraction": 0.75}]
    names = [name for name, *_ in batches(data, **{"train.phases": phases}).schedule.plan]
    assert names == ["animals"] * 15 + ["words"] * 45


def test_negatives_are_drawn_uniformly_or_by_teacher_score_and_anew_each_step(data):
    scores = (0.0, 1.0, 2.0, 3.0)
    examples = examples_of([(0, 0, (1, 2, 3, 4))], scores)

    def shares(**changes) -> list[float]:
        made = batches(data, **{"train.negatives": 1, **changes})
        first = np.array([0])
        drawn = [int(made._negatives(step, examples, first, 1)[0, 0]) for step in range(2000)]
        assert drawn == [int(made._negatives(step, examples, first, 1)[0, 0]) for step in range(2000)]
        return [drawn.count(row) / 2000 for row in range(4)]

    assert shares() == pytest.approx([0.25] * 4, abs=0.04)
    soft = np.exp(np.array(scores) / 2.0)
    by_score = {"train.negative_sampling": "teacher_score", "train.distillation": {"teacher_temperature": 2.0}}
    assert shares(**by_score) == pytest.approx((soft / soft.sum()).tolist(), abs=0.04)
    two = batches(data, **by_score)._negatives(0, examples, np.array([0]), 2)
    assert len(set(two[0].tolist())) == 2
