"""The vector store of many segments: how long it takes to open, and how fast it is read in the corpus's order.

    python -m benchmarks.scale_store [--quick] [--json FILE] [--folder DIR]

20,000 segments of 50 vectors (384 dimensions), put in the corpus's order as the retrieve stage does; --quick: a tenth.
The first opening reads every segment's keys and writes the catalog; the second maps the catalog. A reading takes all
vectors in blocks of 8,192, as the search does; the page cache is as the writing left it.

Keys: store_first_open_seconds, store_open_seconds, store_read_mb_per_second.
"""

import argparse
import hashlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

SEGMENTS, ROWS, DIMENSION = 20_000, 50, 384


def fill(folder: Path, segments: int, keys: np.ndarray) -> None:
    """Write the segments as `Segments.add` does, without its fsync, which would take most of the time."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    for number in range(segments):
        own = keys[number * ROWS : (number + 1) * ROWS]
        segment = folder / hashlib.sha256(own.tobytes()).hexdigest()[:32]
        segment.mkdir(parents=True)
        np.save(segment / "keys.npy", own)
        np.save(segment / "vectors.npy", vectors)
        np.save(segment / "offsets.npy", np.arange(ROWS + 1))


def measure(folder: Path, segments: int) -> dict[str, float]:
    """Fill a store in `folder`, open it twice, and read it all."""
    from components.model.vector_store import VectorStore
    from components.search.stream import DOCUMENT_BLOCK

    keys = np.random.default_rng(1).integers(0, 2**63, (segments * ROWS, 4), dtype=np.uint64)
    fill(VectorStore(folder, "scale").folder, segments, keys)
    opened = []
    for _ in range(2):
        start = time.perf_counter()
        store = VectorStore(folder, "scale")
        assert store.has(keys[:1]).all()
        opened.append(time.perf_counter() - start)
    start, size = time.perf_counter(), 0
    for first in range(0, len(keys), DOCUMENT_BLOCK):
        size += store.read(keys[first : first + DOCUMENT_BLOCK]).nbytes
    speed = size / (time.perf_counter() - start) / 1e6
    print(
        f"{segments:,} segments, {len(keys):,} vectors: first opening {opened[0]:.2f} s, second {opened[1]:.3f} s, "
        f"read in order {speed:,.0f} MB/s"
    )
    return {
        "store_first_open_seconds": opened[0],
        "store_open_seconds": opened[1],
        "store_read_mb_per_second": speed,
    }


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the store goes (1.6 GiB); a temporary folder when empty")
    given = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, numpy {np.__version__}")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        figures = measure(Path(name), SEGMENTS // 10 if given.quick else SEGMENTS)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
