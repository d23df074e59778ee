"""One model a process: loaded by the first who asks, and gone before the next is loaded."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from components.model.load_once import free_model, load_once
from tests.samples import only_collected_when_asked


class Model:
    """With a cycle, as torch models have."""

    def __init__(self) -> None:
        self.itself = self


loaded: list[weakref.ref[Model]] = []
alive: list[int] = []


@dataclass(frozen=True)
class Source:
    name: str

    def load(self) -> Any:
        alive.append(sum(model() is not None for model in loaded))
        model = Model()
        loaded.append(weakref.ref(model))
        return model


def test_two_threads_load_one_model() -> None:
    both = threading.Barrier(2)

    def ask(source: Source) -> Any:
        both.wait()
        return load_once(source)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(ask, [Source("both"), Source("both")])
    assert one is two


@pytest.mark.slow
def test_a_process_holds_one_model_at_a_time() -> None:
    free_model()
    loaded.clear()
    alive.clear()
    with only_collected_when_asked():
        for name in ("a", "a", "b", "a"):
            load_once(Source(name))
    assert alive == [0, 0, 0]
