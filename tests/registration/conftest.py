"""A checkout with a trained model and its MLflow store, as in tests/tracking."""

from tests.tracking.conftest import checkout, empty_store, no_upload, store, trained

__all__ = ["checkout", "empty_store", "no_upload", "store", "trained"]
