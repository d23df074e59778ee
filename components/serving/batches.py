"""Dynamic batching: one thread embeds the requests that arrived while the batch before was computed.

    request ---> its texts wait under their prompt ---> batch: one prompt, at most `token_budget` tokens ---> model

There is no waiting time: an idle model takes a request at once, a busy one finds more to batch. Prompts take turns, and
so do the requests within a batch, so that a small request does not wait for a large one to end.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread

import numpy as np

Embed = Callable[[list[list[int]]], np.ndarray]


class BusyError(Exception):
    """The queue is full."""


class _Request:
    """The queued texts of a request, and its finished vectors."""

    def __init__(self, sequences: Sequence[list[int]]) -> None:
        self.waiting = deque(enumerate(sequences))
        self.vectors: list[np.ndarray | None] = [None] * len(sequences)
        self.missing = len(sequences)
        self.done: Future[np.ndarray] = Future()
        self.done.set_running_or_notify_cancel()  # a client that goes away cannot cancel it under the thread's hands

    def add(self, place: int, vector: np.ndarray) -> None:
        self.vectors[place] = vector
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(np.stack([one for one in self.vectors if one is not None]))


class Batches:
    """The queue and its thread.

    Attributes:
        waiting_tokens: of texts that are not embedded yet, without their prompts.
        embedded: texts, so far.
        batches: forward passes, so far.
    """

    def __init__(self, embed: Embed, token_budget: int, queue_tokens: int) -> None:
        """
        Args:
            embed: from token ids with a common prefix to vectors.
            token_budget: tokens of a batch; what all its texts begin with counts once.
            queue_tokens: tokens that may wait; a request on top of them is refused, unless none waits.
        """
        self._embed, self._budget, self._most = embed, token_budget, queue_tokens
        self._changed = Condition()
        self._requests: OrderedDict[tuple[str, int], deque[_Request]] = OrderedDict()
        self._closed = False
        self.waiting_tokens = self.embedded = self.batches = 0
        self._thread = Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, prompt: str, prefix: int, sequences: Sequence[list[int]]) -> "Future[np.ndarray]":
        """Queue the token ids of texts behind one prompt, which is `prefix` tokens long; their vectors, in order.

        Raises:
            BusyError: too many tokens wait.
        """
        request, tokens = _Request(sequences), sum(map(len, sequences)) - prefix * len(sequences)
        with self._changed:
            if self._closed:
                raise BusyError("the server is stopping")
            if self.waiting_tokens and self.waiting_tokens + tokens > self._most:
                raise BusyError(f"{self.waiting_tokens} tokens wait already; try again in a second")
            self.waiting_tokens += tokens
            self._requests.setdefault((prompt, prefix), deque()).append(request)
            self._changed.notify()
        return request.done

    def close(self) -> None:
        """Finish the queued requests, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            sequences = [sequence for _, _, sequence, _ in batch]
            try:
                vectors = self._embed(sequences)
            except Exception as problem:  # noqa: BLE001  # raised in the callers; the thread continues
                for request, _, _, _ in batch:
                    if not request.done.done():
                        request.done.set_exception(problem)
            else:
                for (request, place, _, _), vector in zip(batch, vectors, strict=True):
                    request.add(place, vector)
            with self._changed:
                self.batches += 1
                self.embedded += len(batch)
                self.waiting_tokens -= sum(own for _, _, _, own in batch)

    def _next(self) -> list[tuple[_Request, int, list[int], int]]:
        """The next batch, waiting for one; empty when closed and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._closed)
            if not self._requests:
                return []
            (prompt, prefix), requests = self._requests.popitem(last=False)
            room = self._budget - prefix
            batch: list[tuple[_Request, int, list[int], int]] = []
            while requests:
                place, sequence = requests[0].waiting[0]
                own = len(sequence) - prefix
                if batch and own > room:
                    break
                request = requests.popleft()
                request.waiting.popleft()
                batch.append((request, place, sequence, own))
                room -= own
                if request.waiting:
                    requests.append(request)
            if requests:
                self._requests[prompt, prefix] = requests
            return batch
