"""The checkout of a folder."""

from pathlib import Path

from components.base.checkout import home


def test_an_isolated_run_belongs_to_its_checkout(tmp_path: Path) -> None:
    assert home(tmp_path) == tmp_path.resolve()
    assert home(tmp_path / ".cache" / "runs" / "pipeline-1") == tmp_path.resolve()
    assert home(tmp_path / ".cache" / "wheels") == (tmp_path / ".cache" / "wheels").resolve()
