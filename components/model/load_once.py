"""Per-process cache of one loaded model.

Shards name their model by the files and parameters it is loaded from; the first thread that needs it loads it. Loading
is serialized: while transformers loads a model it patches classes and sets torch's default dtype, for all threads.
"""

import threading
from typing import Any, Protocol

from components.base.machine import free_memory

_loading = threading.Lock()
_held: dict["ModelSource", Any] = {}


class ModelSource(Protocol):
    """Where a model comes from: hashable plain values that can be sent to another process."""

    def load(self) -> Any: ...

    def __hash__(self) -> int: ...


def load_once(source: ModelSource) -> Any:
    """The model of `source`. Loading another source frees it: two 7B models in bf16 are 27 GiB."""
    with _loading:
        if source not in _held:
            free_model()
            _held[source] = source.load()
        return _held[source]


def free_model() -> None:
    """Free the cached model, unless it is referenced elsewhere."""
    _held.clear()
    free_memory()
