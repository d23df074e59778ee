"""What a 7B model would cost: the documented table is the command's, and time follows tokens, rate and devices."""

import pytest

from components.evaluation.projection import Projection, table
from tests.command import foundry
from tests.samples import ROOT


def test_the_documented_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("projection") == 0
    printed = capsys.readouterr().out
    assert printed.strip() == table()
    assert printed in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_rate_and_devices_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("projection", "--tflops", "200", "--devices", "4") == 0
    assert capsys.readouterr().out.strip() == table(200.0, [4])


def test_hours_are_flops_over_rate() -> None:
    one = Projection("x", 100.0)
    assert one.hours(1) == pytest.approx(2 * 6.98e9 * 100e6 / 400e12 / 3600)
    assert one.hours(8, 200.0) == pytest.approx(one.hours(1) / 4)


@pytest.mark.parametrize("wrong", [("--tflops", "0"), ("--devices", "0")])
def test_a_rate_or_number_that_is_none_is_refused(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("projection", *wrong) == 2
    assert "Invalid value for" in capsys.readouterr().err
