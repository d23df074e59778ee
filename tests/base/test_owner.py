"""An owner is dead only if that can be proved from here."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.base import owner
from components.base.owner import describe_owner, is_own, standing

ROOT = Path("/a/checkout")


def test_alive_dead_and_a_reused_pid() -> None:
    child = subprocess.Popen(["sleep", "60"])
    who = describe_owner(ROOT, child.pid)
    assert standing(who) == "alive"
    assert standing({**who, "ticks": who["ticks"] - 1}) == "dead", "the pid was given to another process"
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=10)
    assert standing(who) == "dead"
    child.wait()
    assert standing(who) == "dead"


def test_another_boot_is_dead_and_what_is_elsewhere_is_unseen() -> None:
    who = {**describe_owner(ROOT), "pid": 4_000_000}
    assert standing({**who, "boot": "before"}) == "dead"
    for change in ({"host": "b"}, {"namespace": "pid:[1]"}, {"boot": ""}, {"pid": None}):
        assert standing({**who, **change}) == "unseen", change
    assert standing({"pid": 4_000_000, "started": 1.0}) == "unseen", "a record of an older version"
    assert standing({}) == "unseen"
    assert is_own(who, ROOT)
    assert not is_own(who, Path("/another"))
    assert not is_own({**who, "host": "b"}, ROOT)


def test_a_step_of_the_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    who = describe_owner(ROOT)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    assert standing(who) == "alive"


@pytest.mark.skipif(sys.platform != "linux", reason="PID namespaces are Linux's")
def test_from_another_pid_namespace_everything_is_unseen(tmp_path: Path) -> None:
    who = describe_owner(ROOT)
    code = f"from components.base.owner import standing; print(standing({who!r}))"
    inside = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    for option in (["--mount-proc"], []):
        done = subprocess.run(
            [*inside, *option, sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if "unshare" in done.stderr:
            pytest.skip(f"no new namespace here: {done.stderr}")
        assert done.stdout.strip() == "unseen", done.stderr


def test_a_hidden_process_is_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_start_ticks", lambda pid: None)
    monkeypatch.setattr(owner, "_exists", lambda pid: True)
    assert standing(describe_owner(ROOT)) == "unseen"
