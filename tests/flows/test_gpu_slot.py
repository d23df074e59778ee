"""A GPU stage of one flow waits for that of another; the lock goes with its holder, also by kill -9."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.base import locks
from flows import gpu_slot
from flows.processes import StoppedError

HOLDER = """\
import sys, time
from pathlib import Path
from flows import gpu_slot
gpu_slot.FOLDER = Path(sys.argv[1])
with gpu_slot.hold_cards(print, lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_slot, "FOLDER", tmp_path)


def test_one_holder_and_a_killed_one_frees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "QUIET_SECONDS", 0.0)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    said: list[str] = []

    def stop() -> None:
        if said:
            raise StoppedError("stopped")

    with pytest.raises(StoppedError), gpu_slot.hold_cards(said.append, stop):
        pass
    assert f"held by pid {holder.pid} since" in said[0]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with gpu_slot.hold_cards(said.append, stop):
        assert len(said) == 1


def test_cards_are_those_that_cuda_would_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_slot, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_slot.visible_cards() == ["0"], "a machine without a GPU has one slot"
    for name in ("nvidia1", "nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpu_slot.visible_cards() == ["0", "1"]
    for stated, cards in (("1", ["1"]), ("GPU-8a/b, 2", ["2", "GPU-8a_b"]), ("-1", ["0"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
        assert gpu_slot.visible_cards() == cards
