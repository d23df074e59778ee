"""`foundry` in the test's own process."""

import sys
from pathlib import Path

import pytest

from flows.cli.main import main


def foundry(*arguments: str) -> int:
    """Run a command in the current folder; returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path.cwd())  # a command changes to the root of the checkout
        patch.setattr(sys, "argv", ["foundry", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    raise AssertionError("a command line always ends with SystemExit")
