"""A process whose steps stop ends and leaves where it stood; one that goes on is left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.base.watchdog import last_line

SCRIPT = """
import sys, time
from pathlib import Path
from components.base import watchdog

def stand_still():
    time.sleep(60)

watchdog.arm(0.3, Path(sys.argv[1]))
for _ in range(4):
    time.sleep(0.15)
    watchdog.beat()
print("four steps", flush=True)
if sys.argv[2] == "hang":
    stand_still()
watchdog.disarm()
time.sleep(0.5)
"""


ALONE = """
import sys, time
from pathlib import Path
from components.base import watchdog

def stand_still():
    time.sleep(60)

with watchdog.watched("train", 0.3, Path(sys.argv[1])):
    for _ in range(4):
        time.sleep(0.15)
        watchdog.beat()
    if sys.argv[2] == "hang":
        stand_still()
time.sleep(0.5)
"""


def run(file: Path, how: str, script: str = SCRIPT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", script, str(file), how], capture_output=True, text=True, timeout=50)


@pytest.mark.slow
def test_a_process_alone_says_in_one_line_where_it_stood(tmp_path: Path) -> None:
    ended = run(tmp_path / "hung.txt", "hang", ALONE)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: train: no progress within train.hang_seconds: 0.3, at <string>:7 in stand")
    assert "the last checkpoint is kept" in line
    calm = run(tmp_path / "calm.txt", "go on", ALONE)
    assert (calm.returncode, calm.stderr) == (0, "")


@pytest.mark.slow
def test_a_process_that_stands_still_is_ended_and_says_where(tmp_path: Path) -> None:
    ended = run(tmp_path / "hung.txt", "hang")
    assert (ended.returncode, ended.stdout) == (1, "four steps\n")
    assert last_line(tmp_path / "hung.txt") == "<string>:7 in stand_still"


@pytest.mark.slow
def test_a_process_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    assert run(tmp_path / "hung.txt", "go on").returncode == 0
    assert last_line(tmp_path / "hung.txt") is None


def test_the_last_line_is_the_innermost_of_our_own_code(tmp_path: Path) -> None:
    file = tmp_path / "hung.txt"
    file.write_text(
        'Timeout (1:00:00)!\nThread 0x01 (most recent call first):\n  File "/venv/threading.py", line 5 in wait\n'
        'Thread 0x02 (most recent call first):\n  File "/venv/torch/distributed.py", line 9 in all_reduce\n'
        '  File "/home/me/checkout/components/training/world.py", line 57 in sum_\n'
        '  File "/home/me/checkout/components/training/step.py", line 70 in run\n'
    )
    assert last_line(file) == "components/training/world.py:57 in sum_"
