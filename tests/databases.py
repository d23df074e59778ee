"""Fixtures: empty databases with their tables. Making them takes seconds, so they are made once a machine and version.

They lie in pytest's cache folder (.pytest_cache/d/databases); a test gets a copy.
"""

import os
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from tests.tracking.stores import make_empty_store
from tests.warm_python import warm_python


@pytest.fixture(scope="session")
def empty_store(pytestconfig: pytest.Config) -> Path:
    """MLflow's. Do not write to it; copy it."""
    return made_once(pytestconfig, "mlflow", make_empty_store)


@pytest.fixture(scope="session")
def empty_prefect(pytestconfig: pytest.Config, shared_folder: None) -> Path:
    """A Prefect server's. Do not write to it; copy it to `prefect.db` in its PREFECT_HOME."""
    return made_once(pytestconfig, "prefect", make_empty_prefect)


def make_empty_prefect(file: Path) -> None:
    """A sqlite file with the tables of Prefect's server."""
    env = {**os.environ, "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}"}
    command = [str(warm_python() / "prefect"), "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=env, check=True, capture_output=True)


def made_once(config: pytest.Config, package: str, make: Callable[[Path], None]) -> Path:
    """The file that `make` writes for the installed version of `package`."""
    assert config.cache is not None
    file = config.cache.mkdir("databases") / f"{package}-{version(package)}.db"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            draft = file.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            make(draft)
            draft.replace(file)
    return file
