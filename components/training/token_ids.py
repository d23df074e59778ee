"""Token ids of the texts that training reads, made once: a step then gathers ids and tokenises nothing but its shots.

The ids are in memory-mapped Arrow files below .cache, named by the texts, the rows, the tokenizer and the lengths, so a
restart, another process and another run with the same texts read what the first has made.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.base import watchdog
from components.base.files import whole_file
from components.base.hashing import json_hash
from components.base.progress import bar
from components.model.prompt import Prompt
from components.training.batches import Batch
from components.training.examples import TextsByRow, TrainingData
from components.training.rows import Tokens, fitting_prefix
from components.training.world import World

_PART = 1 << 13  # texts tokenised at once; the tokenizer uses every core
_SCHEMA = pa.schema([("row", pa.uint32()), ("ids", pa.list_(pa.int32())), ("cut", pa.bool_())])
Cut = Callable[[list[str]], list[tuple[list[int], bool]]]  # the ids of each text, and whether it was cut


class TokenIds:
    """Ids by row of one table of texts, for the rows that the file holds."""

    def __init__(self, file: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        parts = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        columns = [part.column("ids") for part in parts]
        self._rows = np.concatenate([np.empty(0, np.uint32), *(part.column("row").to_numpy() for part in parts)])
        self._ends = [column.offsets.to_numpy() for column in columns]
        self._values = [column.values.to_numpy() for column in columns]
        self._starts = np.cumsum([0, *(part.num_rows for part in parts)])  # place of each part's first row
        cuts = (part.column("cut").to_numpy(zero_copy_only=False) for part in parts)
        self._cut = np.concatenate([np.empty(0, bool), *cuts])

    def take(self, rows: np.ndarray) -> tuple[list[np.ndarray], int]:
        """(ids of each row, int32; how many of the texts were cut)."""
        places = np.searchsorted(self._rows, rows)
        parts = np.searchsorted(self._starts, places, side="right") - 1
        found = []
        for part, place in zip(parts.tolist(), (places - self._starts[parts]).tolist(), strict=True):
            ends = self._ends[part]
            found.append(self._values[part][ends[place] : ends[place + 1]])
        return found, int(self._cut[places].sum())


class TrainingTokens:
    """Token ids of any batch of `data`."""

    def __init__(self, data: TrainingData, prompt: Prompt, cache: Path, world: World) -> None:
        """Tokenises what `cache` lacks; of several processes the first does, and the others wait."""
        self._prompt = prompt
        queries, documents, prompted = _rows_read(data)
        sides: dict[str, tuple[TextsByRow, np.ndarray, Cut]] = {
            "queries": (data.query_text, queries, prompt.cut_queries),
            "documents": (data.document_text, documents, prompt.cut_documents),
            "prompted": (data.document_text, prompted, prompt.cut_queries),  # documents of symmetric tasks
        }
        self._ids = {}
        for name, (texts, rows, cut) in sides.items():
            file = cache / "token_ids" / f"{_key(name, texts, rows, prompt)}.arrow"
            self._ids[name] = world.in_turn(lambda file=file, side=(texts, rows, cut): _made(file, *side))  # type: ignore[misc]

    def of(self, batch: Batch) -> Tokens:
        """The batch's ids. Documents of symmetric tasks are queries."""
        symmetric = batch.task.symmetric
        queries, cut = self._ids["queries"].take(batch.queries)
        documents, cut_too = self._ids["prompted" if symmetric else "documents"].take(batch.documents)
        runs = zip(batch.own_instructions, batch.shots, strict=True)
        fitting = [fitting_prefix(self._prompt, own or batch.instruction, shots) for own, shots in runs]
        left_out = sum(len(shots) - shown for shots, (_, shown) in zip(batch.shots, fitting, strict=True))
        own = self._prompt.prefix_ids(batch.instruction) if symmetric else []
        prefixes = [prefix for prefix, _ in fitting]
        return Tokens(queries, documents, prefixes, batch.starts, own, cut + cut_too, left_out)


def _rows_read(data: TrainingData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(queries, documents, documents of symmetric tasks) that any batch may hold: sorted rows."""
    queries, documents, prompted = ([np.empty(0, np.uint32)] for _ in range(3))
    for name, examples in data.examples.items():
        queries.append(examples.query)
        side = prompted if data.tasks[name].symmetric else documents
        side += [examples.positive, examples.negatives]
    return np.unique(np.concatenate(queries)), np.unique(np.concatenate(documents)), np.unique(np.concatenate(prompted))


def _key(side: str, texts: TextsByRow, rows: np.ndarray, prompt: Prompt) -> str:
    """The cache key: a hash of everything that affects the ids."""
    tokenizer = prompt.tokenizer.backend_tokenizer.to_str(), prompt.bos, prompt.eos
    parts = [side, texts.identity, hashlib.sha256(rows.tobytes()).hexdigest(), tokenizer, prompt.params.model_dump()]
    return json_hash(parts)[:32]


def _made(file: Path, texts: TextsByRow, rows: np.ndarray, cut: Cut) -> TokenIds:
    if not file.exists():
        with (
            whole_file(file) as partial,
            pa.ipc.new_file(str(partial), _SCHEMA) as out,
            bar("train: token ids", len(rows), "text") as shown,
        ):
            for start in range(0, len(rows), _PART):
                watchdog.beat()
                part = rows[start : start + _PART]
                ids, flags = zip(*cut(texts.take(part)), strict=True)
                columns = [pa.array(part), pa.array(ids, _SCHEMA.field("ids").type), pa.array(flags)]
                out.write_batch(pa.record_batch(columns, schema=_SCHEMA))
                shown.update(len(part))
    return TokenIds(file)
