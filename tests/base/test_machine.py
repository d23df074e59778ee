"""Thread settings reach the libraries, a user's own word about waiting threads stands, and what malloc keeps."""

import os
import platform
import subprocess
import sys

import pytest

from components.base.machine import limit_threads

MEMORY = """
import psutil, torch
from components.base.machine import keep_freed_memory, free_memory

def held():
    return psutil.Process().memory_info().rss / 2**20

def filled(mebibytes, number):
    return [torch.ones(mebibytes * 2**18) for _ in range(number)]

keep_freed_memory()
begin, large = held(), filled(64, 5)
del large
after_large, small = held() - begin, filled(8, 40)
pin = torch.ones(2**20)  # 4 MiB that stay, above the others in the heap
del small
kept = held() - begin
free_memory()
print(after_large, kept, held() - begin)
"""


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


def test_zero_threads_are_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    limit_threads(0)
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_wait_policy_that_is_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    limit_threads(1)
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: there is nothing to set")
def test_freed_blocks_are_kept_until_they_are_returned_and_large_ones_never() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    after_large, kept, returned = map(float, done.stdout.split())
    assert after_large < 50
    assert kept > 300  # 40 x 8 MiB
    assert returned < 50
