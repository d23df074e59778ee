"""A checkout with a trained (tiny, random) model, as in tests/tracking."""

from tests.tracking.conftest import checkout, empty_store, store, trained

__all__ = ["checkout", "empty_store", "store", "trained"]
