"""Thread settings reach the libraries, and a user's own word about waiting threads stands."""

import os

import pytest

from components.machine import limit_threads


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        monkeypatch.setenv(name, "")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_threads_are_limited_and_waiting_ones_spin_briefly() -> None:
    limit_threads(3)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["POLARS_MAX_THREADS"] == "3"
    assert os.environ["GOMP_SPINCOUNT"] == "1000"


def test_a_wait_policy_that_is_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    limit_threads(1)
    assert "GOMP_SPINCOUNT" not in os.environ
