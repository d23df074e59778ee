"""What a 7B model would cost: the documented table is the command's, and time follows tokens, rate and devices."""

import sys

import pytest

from components.evaluation.projection import Projection, main, table
from tests.samples import ROOT


def test_the_documented_table_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["projection"])
    main()
    printed = capsys.readouterr().out
    assert printed.strip() == table()
    assert printed in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_hours_are_flops_over_rate() -> None:
    one = Projection("x", 100.0)
    assert one.hours(1) == pytest.approx(2 * 6.98e9 * 100e6 / 400e12 / 3600)
    assert one.hours(8, 200.0) == pytest.approx(one.hours(1) / 4)


def test_a_rate_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["projection", "--tflops", "0"])
    with pytest.raises(SystemExit):
        main()
    assert "must be positive" in capsys.readouterr().err
