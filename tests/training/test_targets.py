"""A text is never its own negative, nor its positive's, under any id."""

import polars as pl
import torch

from components.base.overlap import normalise
from components.config import TaskParams, parse_config
from components.contracts.tasks import Task
from components.data.pairs import prepare_pairs
from components.training.batches import Batch, Batches
from components.training.targets import make_targets
from tests.samples import small_parameters
from tests.training.made_data import examples_of, training_data


def test_equal_texts_are_found_with_any_case_and_punctuation() -> None:
    group = torch.tensor([[0, 2], [1, 0]])
    queries, documents = ["Is it round?", "a tree"], ["IT IS", "an oak", "it  is!", "is it round", "A tree."]
    targets = make_targets(
        group,
        torch.zeros(2, 2),
        torch.zeros(2, 5, dtype=torch.bool),
        torch.zeros(2, 5, dtype=torch.bool),
        torch.ones(2),
        queries,
        documents,
    )
    assert targets.equal.tolist() == [[True, False, True, True, False], [False, True, False, False, True]]
    assert targets.group.tolist() == [[0, -1], [1, 0]]  # a mined copy of the positive leaves the group
    assert targets.alike.tolist() == [[True, False], [False, True]]


def test_queries_with_an_answer_in_common_are_alike() -> None:
    group, relevant = torch.tensor([[0], [1], [2]]), torch.zeros(3, 3, dtype=torch.bool)
    relevant[0, 1] = True
    other = torch.zeros_like(relevant)
    targets = make_targets(group, torch.zeros(3, 1), relevant, other, torch.ones(3), ["a", "b", "x"], ["d", "e", "A"])
    assert targets.alike.tolist() == [[True, True, True], [True, True, False], [True, False, True]]


def unmasked_copies(batch: Batch) -> int:
    """Queries with a negative whose text is theirs or their positive's, counted text by text."""
    queries, documents = (
        [normalise(text, punctuation=False) for text in texts] for texts in (batch.query_texts, batch.document_texts)
    )
    found = 0
    for i, place in enumerate(batch.targets.positive.tolist()):
        left = (~batch.targets.answers[i]).nonzero()[:, 0].tolist()
        found += any(documents[j] in (queries[i], documents[place]) for j in left)
    return found


def test_a_symmetric_task_has_no_text_among_its_own_negatives() -> None:
    rows = pl.DataFrame(
        {"query": [f"how do I do {i}?" for i in range(300)], "document": [f"How to do {i}" for i in range(300)]}
    )
    params = TaskParams(source="pairs", kind="pair_classification", instruction="Do.", symmetric=True, train=300)
    done = prepare_pairs("pairs", rows, params, seed=0)
    numbers = [{name: i for i, name in enumerate(ids)} for ids in (done.queries["query_id"], done.corpus["doc_id"])]
    pairs = [(numbers[0][query], numbers[1][document]) for query, document in done.qrels["query_id", "doc_id"].rows()]
    task = Task("pairs", "pair_classification", "Do.", True, 1.0, "none", "test")
    texts = [side["text"].to_list() for side in (done.queries, done.corpus)]
    groups = [(query, document, ()) for query, document in sorted(pairs)]
    data = training_data(task, examples_of(groups), *texts, [1.0] * len(groups))
    train = parse_config(small_parameters(**{"train.batch_queries": 200}), "test").train
    batches = Batches(data, train, seed=0)
    for batch in map(batches.__getitem__, range(3)):
        assert batch.targets.copies.any(1).sum() > 10  # reversed pairs meet in a batch
        assert unmasked_copies(batch) == 0
