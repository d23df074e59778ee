"""One run a checkout: the second is refused and told which the first is; stages beside each other are not."""

import threading
from pathlib import Path

import pytest

from components.base.errors import UserError
from flows import at_work


def test_the_second_run_is_refused_with_pid_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "PATIENCE_SECONDS", 0.0)
    with at_work.only_run(tmp_path):
        refused = pytest.raises(UserError, match=r"another run \(pid \d+ since [-0-9]+ [:0-9]+\) is at work in")
        with refused, at_work.only_run(tmp_path):
            pass
        with at_work.nobody_at_work(tmp_path) as idle:
            assert not idle
    with at_work.stage_at_work(tmp_path), at_work.stage_at_work(tmp_path), at_work.nobody_at_work(tmp_path) as idle:
        assert not idle
    with at_work.nobody_at_work(tmp_path) as idle:
        assert idle


def test_a_stage_waits_for_the_doctor_and_is_seen_then(tmp_path: Path) -> None:
    with at_work.nobody_at_work(tmp_path):
        looking, seen = threading.Event(), list[bool]()

        def run_stage() -> None:
            with at_work.stage_at_work(tmp_path):
                with at_work.nobody_at_work(tmp_path) as idle:
                    seen.append(idle)
                looking.set()

        threading.Thread(target=run_stage).start()
        assert not looking.wait(0.3), "the doctor is at work"
    assert looking.wait(10)
    assert seen == [False]
