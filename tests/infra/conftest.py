"""One stack for all tests of this folder that need servers."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.local_stack import LocalStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The servers of compose.yaml on loopback."""
    folder = Path(tempfile.mkdtemp(prefix="foundry-stack-"))
    folder.chmod(0o755)  # pytest's own folders are closed to other users, and Postgres runs as one
    try:
        with running_stack(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder)
