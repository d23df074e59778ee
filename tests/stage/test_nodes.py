"""Several machines: where they meet, what the first tells the others, and when these go."""

import logging
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.stage import nodes
from components.stage.nodes import Rendezvous, Start, find_rendezvous, join, read_start, start_file, write_start


def a_start(root: Path) -> Start:
    return Start.new(Rendezvous(2, "127.0.0.1:29400"), 4, "train", root, root / "out", root / ".cache" / "work")


def test_one_machine_needs_no_rendezvous() -> None:
    assert find_rendezvous(1, None) is None
    assert find_rendezvous(2, "trainer-0:29500") == Rendezvous(2, "trainer-0:29500")


def test_the_address_of_this_machine_s_name_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.1.2.3")
    assert find_rendezvous(2, None) == Rendezvous(2, "10.1.2.3:29400")
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "127.0.1.1")
    with pytest.raises(UserError, match=r"no address that others reach; set train\.rendezvous to .*:29400"):
        find_rendezvous(2, None)


def test_the_others_read_what_the_first_wrote_with_folders_below_the_checkout(tmp_path: Path) -> None:
    file, start = start_file(tmp_path, "train"), a_start(tmp_path)
    assert read_start(file) is None
    write_start(file, start)
    assert read_start(file) == start
    assert (start.out, start.work) == ("out", ".cache/work")
    assert a_start(tmp_path).id != start.id
    file.write_text('{"id": "1"}')
    with pytest.raises(UserError, match="use the same version on all machines"):
        read_start(file)


def test_a_machine_runs_every_start_once_and_goes_when_the_stage_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, first = start_file(tmp_path, "train"), a_start(tmp_path)
    second = replace(first, id="another")
    write_start(file, first)
    ran: list[str] = []

    def run(start: Start, root: Path, told: Path) -> int:
        ran.append(start.id)
        if start == first:
            write_start(told, second)
            return 1  # killed beside a process that died
        told.unlink()
        return 0

    monkeypatch.setattr(nodes, "_run_until_replaced", run)
    join("train", tmp_path)
    assert ran == [first.id, second.id]
    assert "train has ended" in caplog.text


def test_a_machine_whose_last_start_failed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = start_file(tmp_path, "train")
    write_start(file, a_start(tmp_path))
    monkeypatch.setattr(nodes, "_run_until_replaced", lambda start, root, told: told.unlink() or 3)
    with pytest.raises(UserError, match=r"a process of this machine died \(exit status 3\)"):
        join("train", tmp_path)
