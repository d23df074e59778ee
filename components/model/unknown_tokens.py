"""Texts that a model's tokenizer cannot represent: their letters become one token, so different texts look the same.

Byte-level tokenizers, and those that fall back to bytes, know every text.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from components.model.locate import locate_model

log = logging.getLogger(__name__)


class TextsByRow(Protocol):
    """Texts of one table, read by row."""

    def take(self, rows: np.ndarray) -> list[str]: ...


_MOST = 0.05  # share of unknown tokens from which on a task gets a warning
_TEXTS = 100  # of each side
_LETTERS = 1_000  # of a text


def sample_texts(sides: Sequence[tuple[TextsByRow, np.ndarray]]) -> list[str]:
    """Evenly spaced texts of each (texts, rows)."""
    return [text for texts, rows in sides for text in texts.take(rows[:: max(1, len(rows) // _TEXTS)][:_TEXTS])]


def sample_tasks(*sides: tuple[TextsByRow, pl.DataFrame]) -> dict[str, list[str]]:
    """Sampled texts by task, of tables with `row` and `task`."""
    tasks = sides[0][1]["task"].unique().sort()
    rows = {
        task: [(texts, table.filter(pl.col("task") == task)["row"].to_numpy()) for texts, table in sides]
        for task in tasks
    }
    return {task: sample_texts(own) for task, own in rows.items()}


def load_plain_tokenizer(folder: Path) -> Any:
    """The tokenizer of a fetched model, without the model; sentence-transformers may keep it in its first module."""
    from transformers import AutoTokenizer

    folder = locate_model(folder)
    first = folder / "0_Transformer"
    place = first if (first / "tokenizer_config.json").is_file() else folder
    return AutoTokenizer.from_pretrained(place, local_files_only=True)


def warn_unknown_tokens(model: str, tokenizer: Any, samples: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Log a line for each task of whose tokens many are unknown to the tokenizer of `model`.

    Args:
        samples: texts by task.

    Returns:
        the share of unknown tokens of each task with a warning.
    """
    found = {}
    for task, texts in samples.items():
        unknown, every = _count(tokenizer, texts)
        if unknown > _MOST * every:
            found[task] = unknown / every
            log.warning(
                "%s: %.0f %% of the tokens of its texts are unknown to the tokenizer of %s (%s of %s, in a sample of "
                "%s texts), which cannot tell such texts apart; take a model that was trained on their language",
                *(task, 100 * found[task], model, f"{unknown:,}", f"{every:,}", f"{len(texts):,}"),
            )
    return found


def _count(tokenizer: Any, texts: Sequence[str]) -> tuple[int, int]:
    """Tokens that are unknown, and all."""
    unknown, every = 0, 0
    for ids in _tokenised(tokenizer, texts):
        unknown += ids.count(tokenizer.unk_token_id)
        every += len(ids)
    return unknown, every


def _tokenised(tokenizer: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    if tokenizer.unk_token_id is not None and texts:
        yield from tokenizer([text[:_LETTERS] for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
