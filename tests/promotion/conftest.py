"""The registry of a checkout."""

from pathlib import Path

import pytest


@pytest.fixture
def uri(store: Path) -> str:
    return f"sqlite:///{store}"
