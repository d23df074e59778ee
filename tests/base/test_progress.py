"""Progress in a log file: whole lines, the numbers uncut."""

import io
import sys

from components.base.progress import bar


def test_a_log_file_gets_whole_lines_with_every_number(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with bar("train", 3, "step") as shown:
        shown.mininterval = 0
        for loss in ("0.3", "0.2", "0.1"):
            shown.set_postfix({"loss": loss, "useful tok/s": "1234", "mfu": "0.41", "GiB": "17.2", "task": "a" * 80})
            shown.update(1)
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    assert lines[-1].startswith("train: 3/3 [")
    assert "loss=0.1, useful tok/s=1234, mfu=0.41, GiB=17.2, task=" + "a" * 80 in lines[-1]
