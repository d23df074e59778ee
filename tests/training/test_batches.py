"""Batches: a function of (seed, step); one task each; no leak through the shots."""

import collections
import dataclasses

import numpy as np
import pytest

from components.config import parse_config
from components.training.batches import Batches
from tests.samples import small_parameters


def batches(data, seed=0, **changes) -> Batches:
    return Batches(data, parse_config(small_parameters(**{"train.steps": 60, **changes}), "test").train, seed)


def test_a_step_is_the_same_whenever_it_is_asked_for(data):
    first, again = batches(data), batches(data)
    again[7]
    for step in (3, 0):
        one, other = first[step], again[step]
        assert (one.task, one.examples, one.documents, one.shots) == (
            other.task,
            other.examples,
            other.documents,
            other.shots,
        )
    assert any(batches(data, seed=1)[s].examples != first[s].examples for s in range(5))


def test_an_epoch_shows_every_example_once(data):
    made = batches(data, **{"train.batch_queries": 5})
    words = [made[s] for s in range(60) if made[s].task.name == "words"]
    seen = [example.query for batch in words[:4] for example in batch.examples]  # 20 train queries
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


def test_shots_are_looked_for_until_they_are_found(data):
    class Counting(list):
        read = 0

        def __getitem__(self, key):
            Counting.read += 1
            return super().__getitem__(key)

    counted = dataclasses.replace(data, query_text=Counting(data.query_text))
    made = batches(counted, **{"train.shots": {"max": 4, "share": 1}})
    shots = made._shots(0, "words", set(), 20)
    assert Counting.read == sum(map(len, shots)) > 20


def test_documents_of_the_same_label_are_relevant(data):
    batch = next(b for b in (batches(data)[s] for s in range(60)) if b.task.name == "animals")
    for i, example in enumerate(batch.examples):
        for j, document in enumerate(batch.documents):
            same = data.query_label[example.query] == data.document_label[document]
            assert bool(batch.targets.relevant[i, j]) == same


def test_targets_point_at_the_documents_they_name(data):
    batch = batches(data)[0]
    for i, example in enumerate(batch.examples):
        assert batch.documents[batch.targets.positive[i]] == example.positive
        for j in batch.targets.group[i, 1:]:
            assert j < 0 or batch.documents[j] in example.negatives


def test_alpha_weighs_tasks_by_size(data):
    def share(**changes) -> float:
        made = batches(data, **{"train.steps": 400, **changes})
        return sum(name == "animals" for name, _ in made._plan) / 400

    assert share(**{"train.alpha": 0.0}) == pytest.approx(0.5, abs=0.08)
    data.tasks["animals"].__dict__["weight"] = 3.0
    try:
        assert share(**{"train.alpha": 0.0}) == pytest.approx(0.75, abs=0.08)
    finally:
        data.tasks["animals"].__dict__["weight"] = 1.0


def test_phases_keep_their_order(data):
    phases = [{"kinds": ["classification"], "fraction": 0.25}, {"kinds": ["retrieval"], "fraction": 0.75}]
    names = [name for name, _ in batches(data, **{"train.phases": phases})._plan]
    assert names == ["animals"] * 15 + ["words"] * 45


def test_negatives_are_drawn_uniformly_or_by_teacher_score_and_anew_each_step(data):
    scores = (0.0, 1.0, 2.0, 3.0)
    base = next(iter(data.examples.values()))[0]
    example = dataclasses.replace(base, negatives=(0, 1, 2, 3), negative_scores=scores)

    def shares(**changes) -> list[float]:
        made = batches(data, **{"train.negatives": 1, **changes})
        drawn = [made._negatives(step, 0, example)[0][0] for step in range(2000)]
        assert drawn == [made._negatives(step, 0, example)[0][0] for step in range(2000)]
        return [drawn.count(row) / 2000 for row in range(4)]

    assert shares() == pytest.approx([0.25] * 4, abs=0.04)
    soft = np.exp(np.array(scores) / 2.0)
    by_score = {"train.negative_sampling": "teacher_score", "train.distillation": {"teacher_temperature": 2.0}}
    assert shares(**by_score) == pytest.approx((soft / soft.sum()).tolist(), abs=0.04)
    two = batches(data, **by_score, **{"train.negatives": 2})._negatives(0, 0, example)
    assert len({name for name, _ in two}) == 2
