"""One run a checkout: the second is refused and told which the first is; stages beside each other are not."""

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
