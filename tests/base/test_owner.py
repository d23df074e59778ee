"""An owner is dead only if that can be proved from here."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from components.base import owner
from components.base.locks import try_lock
from components.base.owner import describe_owner, is_own, owner_state

ROOT = Path("/a/checkout")


def test_alive_dead_and_a_reused_pid() -> None:
    child = subprocess.Popen(["sleep", "60"])
    who = describe_owner(ROOT, child.pid)
    assert owner_state(who) == "alive"
    assert owner_state({**who, "ticks": who["ticks"] - 1}) == "dead", "the pid was given to another process"
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=10)
    assert owner_state(who) == "dead"
    child.wait()
    assert owner_state(who) == "dead"


def test_another_boot_is_dead_and_what_is_elsewhere_is_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_machine", lambda: "/1234")
    who = {**describe_owner(ROOT), "pid": 4_000_000}
    assert owner_state({**who, "boot": "before"}) == "dead"
    for change in ({"host": "b"}, {"namespace": "pid:[1]"}, {"boot": ""}, {"host": "b", "boot": "before"}):
        assert owner_state({**who, **change}) == "unseen", change
    monkeypatch.setattr(owner, "_machine", lambda: "")  # a container: another one may have the same host name
    who = {**describe_owner(ROOT), "boot": "before"}
    assert owner_state(who) == "unseen"
    assert owner_state({"pid": 4_000_000, "started": 1.0}) == "unseen", "a record of an older version"
    assert owner_state({}) == "unseen"
    assert is_own(who, ROOT)
    assert not is_own(who, Path("/another"))
    assert not is_own({**who, "host": "b"}, ROOT)


def test_a_step_of_the_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    who = describe_owner(ROOT)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    assert owner_state(who) == "alive"


@pytest.mark.skipif(sys.platform != "linux", reason="PID namespaces are Linux's")
def test_from_another_pid_namespace_everything_is_unseen(tmp_path: Path) -> None:
    who = describe_owner(ROOT)
    code = f"from components.base.owner import owner_state; print(owner_state({who!r}))"
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
    assert owner_state(describe_owner(ROOT)) == "unseen"


def test_a_lock_tells_of_a_process_in_another_container(tmp_path: Path) -> None:
    elsewhere = {**describe_owner(ROOT), "namespace": "pid:[1]", "host": "worker"}
    lock = tmp_path / "owner.lock"
    assert owner_state(elsewhere, lock) == "unseen", "no file, no proof"
    with try_lock(lock):
        assert owner_state(elsewhere, lock) == "unseen"
    assert owner_state(elsewhere, lock) == "dead"
    assert owner_state({**elsewhere, "boot": "before"}, lock) == "unseen"
