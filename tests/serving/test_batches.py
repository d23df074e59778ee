"""The queue before a served model, with an embedding function that the test holds."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from components.serving.batches import Batches, BusyError


class Model:
    """Embeds a sequence as its last id; waits at the gate before each batch."""

    def __init__(self) -> None:
        self.seen: list[list[list[int]]] = []
        self.gate, self.entered = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, sequences: list[list[int]]) -> np.ndarray:
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        self.seen.append(sequences)
        if [13] in sequences:
            raise ValueError("unlucky")
        return np.array([[float(ids[-1])] for ids in sequences])


@pytest.fixture
def model() -> Model:
    return Model()


def result(future: "Future[np.ndarray]") -> list[float]:
    return [float(value) for value in future.result(timeout=10)[:, 0]]


def test_what_waits_is_batched_by_prompt_within_the_budget_and_requests_take_turns(model: Model) -> None:
    batches = Batches(model, token_budget=4, queue_tokens=100)
    first = batches.submit("a", 0, [[1]])
    assert model.entered.acquire(timeout=10)  # the model is busy from here on
    large = batches.submit("a", 0, [[2], [3], [4], [5], [6]])
    other = batches.submit("b", 0, [[7]])
    small = batches.submit("a", 0, [[8]])
    model.gate.release(9)
    assert (result(first), result(large), result(other), result(small)) == ([1], [2, 3, 4, 5, 6], [7], [8])
    batches.close()
    assert model.seen == [[[1]], [[2], [8], [3], [4]], [[7]], [[5], [6]]]
    assert (batches.waiting_tokens, batches.embedded, batches.batches) == (0, 8, 4)


def test_a_prompt_counts_once_and_a_text_over_the_budget_goes_alone(model: Model) -> None:
    batches = Batches(model, token_budget=5, queue_tokens=100)
    first = batches.submit("a", 3, [[0, 0, 0, 9]])
    assert model.entered.acquire(timeout=10)
    rest = batches.submit("a", 3, [[0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3, 3, 3, 3], [0, 0, 0, 4]])
    model.gate.release(9)
    assert result(first) + result(rest) == [9, 1, 2, 3, 4]
    assert [len(batch) for batch in model.seen] == [1, 2, 1, 1]
    batches.close()


def test_a_full_queue_refuses_and_an_empty_one_takes_any_request(model: Model) -> None:
    batches = Batches(model, token_budget=4, queue_tokens=3)
    first = batches.submit("a", 0, [[1, 1, 1, 1, 1]])
    with pytest.raises(BusyError, match="5 tokens wait already; try again in a second"):
        batches.submit("a", 0, [[2]])
    model.gate.release(9)
    assert result(first) == [1]
    batches.close()
    with pytest.raises(BusyError, match="the server is stopping"):
        batches.submit("a", 0, [[2]])


def test_an_error_reaches_those_who_wait_and_a_client_that_left_stops_nobody(model: Model) -> None:
    batches = Batches(model, token_budget=1, queue_tokens=100)
    unlucky = batches.submit("a", 0, [[13], [1]])
    assert not unlucky.cancel()
    model.gate.release(9)
    with pytest.raises(ValueError, match="unlucky"):
        unlucky.result(timeout=10)
    assert result(batches.submit("a", 0, [[2]])) == [2]
    assert batches.alive
    batches.close()
