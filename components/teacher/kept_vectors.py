"""Vectors that become an output of retrieve, for soft labels: written block by block, rows as in the tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base.files import whole_file
from components.teacher.dense import BLOCK, EmbeddedTexts, Rows


def write_vectors(file: Path, teacher: EmbeddedTexts, parts: Sequence[tuple[Rows, Rows]]) -> None:
    """A .safetensors file of float16 `documents` and `queries` [n, dim], by row of the tables of prepare.

    Rows that are in no part are zero.

    Args:
        parts: (queries, documents) of each task, by row.
    """
    tables = {"documents": [part[1] for part in parts], "queries": [part[0] for part in parts]}
    dimension, end = teacher.reader.dimension, 0
    header: dict[str, dict[str, Any]] = {}
    for name, own in tables.items():
        number = int(own[-1].rows[-1]) + 1
        start, end = end, end + 2 * number * dimension
        header[name] = {"dtype": "F16", "shape": [number, dimension], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(file) as partial:
        with partial.open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + end)
        for name, own in tables.items():
            start = 8 + len(text) + header[name]["data_offsets"][0]
            shape = tuple(header[name]["shape"])
            vectors = np.memmap(partial, dtype=np.float16, mode="r+", offset=start, shape=shape)
            for block in (block for part in own for block in part.blocks(BLOCK)):
                vectors[block.rows] = teacher.all(block)
            vectors.flush()
