"""Logging of a stage: one line per event, to stderr and to .cache/logs/STAGE.log.

Modules log with `logging.getLogger(__name__)`. A progress bar and a log line share stderr: the handler clears the bar,
writes the line and draws the bar again. Libraries log from WARNING on; warnings that come on every run are filtered.
"""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

_FORMAT = "%(asctime)s %(stage)s: %(message)s"
_REPEATED = (  # library warnings that come on every run and that a user cannot act on
    "is_gradient_checkpointing",
    "Sparse CSR tensor support is in beta",
    "torch.jit.script",
    "Add type hints to the `predict` method",
)
_show_warning = warnings.showwarning
_LOUD = ("bm25s", "bitsandbytes")  # log progress or missing optional kernels as warnings


def set_up_logging(stage: str, file: Path, progress_bars: bool = True) -> None:
    """Send log records of `components` from INFO on, and of libraries from WARNING on, to stderr and to `file`.

    Args:
        stage: prefix of every message.
        file: overwritten; its folder is created.
        progress_bars: whether hub and transformers may draw their own bars, as for downloads.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    formatter = logging.Formatter(_FORMAT, "%H:%M:%S", defaults={"stage": stage})
    root = logging.getLogger()
    for handler in (_BarHandler(), logging.FileHandler(file, mode="w", encoding="utf-8")):
        handler.setFormatter(formatter)
        handler.addFilter(_is_worth_a_line)
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("components").setLevel(logging.INFO)
    quiet_libraries(progress_bars)


def quiet_libraries(progress_bars: bool) -> None:
    """Silence what libraries repeat on every run; call it before they are imported. See `set_up_logging`."""
    warnings.showwarning = _show_unless_repeated
    if logging.lastResort:  # prints where no handler is set up
        logging.lastResort.addFilter(_is_worth_a_line)
    if not progress_bars:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # read by transformers too when it is imported


def _show_unless_repeated(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """For `warnings.showwarning`: MLflow sets filters of its own around a warning, which come before ours."""
    if not any(repeated in str(message) for repeated in _REPEATED):
        _show_warning(message, category, filename, lineno, file, line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Handler filter. A level set on the libraries' loggers would be overwritten when they are imported."""
    return record.levelno >= logging.ERROR or record.name.partition(".")[0] not in _LOUD


class _BarHandler(logging.Handler):
    """Write to stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode():
            print(self.format(record), file=sys.stderr, flush=True)
