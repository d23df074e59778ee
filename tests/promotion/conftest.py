"""An MLflow store for every test, as in tests/tracking."""

from tests.tracking.conftest import empty_store, store

__all__ = ["empty_store", "store"]
