"""A checkout with a trained (tiny, random) model, as in tests/tracking."""

from tests.tracking.conftest import checkout, trained

__all__ = ["checkout", "trained"]
