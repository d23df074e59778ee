"""CPU threads and malloc settings of a process, and the name of its user."""

import ctypes
import ctypes.util
import gc
import getpass
import os
import platform

from components.base.threads import worker_count

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def limit_threads(threads: int) -> None:
    """Use `threads` CPU threads (0 = every core that this process may use) in every library imported after this call.

    Idle OpenMP threads spin for some microseconds before they sleep. Measured on two cores, 8 training steps of the
    starter: no spinning 28.8 s, this setting 22 s, OpenMP's default of some milliseconds 22 s. With another busy
    process on the machine: 40, 46 and 88 s.
    """
    count = str(worker_count(threads))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[variable] = count
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def keep_freed_memory() -> None:
    """Let malloc reuse freed blocks of up to 32 MiB instead of returning them to the kernel (glibc only; else no-op).

    Training on a CPU frees and allocates the same megabyte tensors thousands of times. Measured on 4 layers of SmolLM2,
    rows of 1,024 tokens: 633 -> 841 tokens/s. Larger blocks are returned at once. If they were kept too, 4 layers of a
    7B model in 4 bits, which are dequantized for every product, took 7.0 GiB to train instead of 1.8.
    """
    if library := _glibc():
        library.mallopt(_M_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory() -> None:
    """Free the memory of unreferenced models. They contain reference cycles, so this needs the garbage collector.

    Call it before the next model is loaded: two 7B models in bf16 are 27 GiB.
    """
    import torch

    gc.collect()
    if library := _glibc():
        library.malloc_trim(0)  # return malloc's free blocks to the kernel
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(ctypes.util.find_library("c")) if platform.libc_ver()[0] == "glibc" else None


def user_name() -> str:
    """The user's name; `uid N` where the machine has no entry for the user, as in a container of another uid."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"
