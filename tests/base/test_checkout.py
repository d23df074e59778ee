"""The checkout of a folder."""

from pathlib import Path

from components.base.checkout import find_checkout, home


def test_an_isolated_run_belongs_to_its_checkout(tmp_path: Path) -> None:
    assert home(tmp_path) == tmp_path.resolve()
    assert home(tmp_path / ".cache" / "runs" / "pipeline-1") == tmp_path.resolve()
    assert home(tmp_path / ".cache" / "wheels") == (tmp_path / ".cache" / "wheels").resolve()


def test_the_nearest_dvc_yaml_makes_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_checkout(tmp_path / "a" / "b") is None
    (tmp_path / "dvc.yaml").touch()
    assert find_checkout(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "a" / "dvc.yaml").touch()
    assert find_checkout(tmp_path / "a" / "b") == tmp_path / "a"
