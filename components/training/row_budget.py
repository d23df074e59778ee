"""Tokens in one packed row: `train.row_tokens`, halved when a row does not fit the card.

The smaller number is kept in a file, so a process that is started again does not try the larger one again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from components.base.errors import UserError
from components.base.files import whole_file
from components.training.rows import PlacedRow

log = logging.getLogger(__name__)
_FILE = "row_tokens"


class RowBudget:
    """The number in force, `tokens`; it only gets smaller."""

    def __init__(self, wanted: int, work: Path) -> None:
        self._file = work / _FILE
        kept = int(self._file.read_text(encoding="utf-8")) if self._file.is_file() else wanted
        self.tokens = min(wanted, kept)

    def halve(self, step: int, rows: Sequence[PlacedRow]) -> None:
        """Continue with half, after one of `rows` did not fit.

        Raises:
            UserError: the largest of them holds one text with its prefix, which no smaller row can hold.
        """
        largest = max(rows, key=lambda placed: placed.tokens)
        if len(largest.places) == 1:
            raise UserError(
                f"train: step {step}: a row of one text and its prefix, {largest.tokens} tokens, does not fit the "
                "card's memory; set train.gradient_checkpointing: true or train.quantization: 4bit, or lower "
                "prompt.prefix_tokens or prompt.document_tokens; the last checkpoint is kept"
            )
        before, self.tokens = self.tokens, min(self.tokens, largest.tokens) // 2
        log.warning(
            "train: step %s: a row of %s tokens does not fit the card's memory; train.row_tokens is %s from here on, "
            "no longer %s",
            step,
            largest.tokens,
            self.tokens,
            before,
        )
        with whole_file(self._file) as partial:
            partial.write_text(str(self.tokens), encoding="utf-8")
