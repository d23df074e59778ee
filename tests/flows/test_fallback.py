"""A command whose Prefect server goes away starts again; DVC keeps what is finished."""

import contextlib
import os
import sys

import httpx
import pytest

from components.base.errors import UserError
from flows import fallback


def test_a_command_starts_again_when_the_server_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(fallback, "prefect_server_or_temporary", lambda: contextlib.nullcontext(True))
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    monkeypatch.setattr(sys, "argv", ["foundry", "pipeline", "train"])

    def refused() -> None:
        raise httpx.ConnectError("refused")

    fallback.call_with_server(refused)
    assert [command[-3:] for command in started] == [["flows.cli", "pipeline", "train"]]
    assert "Prefect went away (ConnectError); going on" in capsys.readouterr().err

    def fails() -> None:
        raise UserError("train: out of memory")

    with pytest.raises(UserError, match="out of memory"):
        fallback.call_with_server(fails)
    assert len(started) == 1, "a failure of the work itself is none of the server"
