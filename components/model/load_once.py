"""A model is loaded once a process, and no other is kept beside it.

Shards name their model by the files and parameters it is loaded from; whichever thread needs it first loads it. One at
a time: while transformers loads a model it patches classes and sets torch's default dtype, for all threads.
"""

import threading
from typing import Any, Protocol

from components.base.machine import free_memory

_loading = threading.Lock()
_held: dict["ModelSource", Any] = {}


class ModelSource(Protocol):
    """Where a model comes from: hashable plain values that travel to another process."""

    def load(self) -> Any: ...

    def __hash__(self) -> int: ...


def load_once(source: ModelSource) -> Any:
    """The model of `source`. Loading another one lets go of it: two 7B models in bf16 are 27 GiB."""
    with _loading:
        if source not in _held:
            let_go()
            _held[source] = source.load()
        return _held[source]


def let_go() -> None:
    """Give back the memory of the model that is held, as far as nobody else refers to it."""
    _held.clear()
    free_memory()
