"""The mirror has mteb's layout, continues where it was stopped, and is checked for the reranking trap."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from components.benchmark.mirror import check_mirror, make_mirror
from components.benchmark.tasks import mteb_task
from tests.benchmark.standins import write_standins
from tests.command import foundry

TASKS = ["BIOSSES", "ArguAna"]


class Hub:
    """Leaves a file with the repository's name; fails on the repository `broken`."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.asked = broken, list[str]()

    def __call__(self, repository: str, revision: str, folder: Path) -> None:
        self.asked.append(repository)
        (folder / "half.parquet").write_text(repository)
        if repository == self.broken:
            raise UserError("no network")


def test_layout_is_the_one_evaluate_reads(tmp_path: Path) -> None:
    assert make_mirror(tmp_path, "MTEB(eng, v2)", Hub(), TASKS) == ["mteb/biosses-sts", "mteb/arguana"]
    assert mteb_task("ArguAna", tmp_path).metadata.dataset["path"] == str(tmp_path / "mteb" / "arguana")


def test_an_interrupted_mirror_continues(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no network"):
        make_mirror(tmp_path, "MTEB(eng, v2)", Hub(broken="mteb/arguana"), TASKS)
    again = Hub()
    make_mirror(tmp_path, "MTEB(eng, v2)", again, TASKS)
    assert again.asked == ["mteb/arguana"]


def test_another_revision_is_fetched_anew(tmp_path: Path) -> None:
    make_mirror(tmp_path, "MTEB(eng, v2)", Hub(), TASKS)
    (tmp_path / "mteb" / "arguana" / ".revision").write_text("an older one\n")
    again = Hub()
    make_mirror(tmp_path, "MTEB(eng, v2)", again, TASKS)
    assert again.asked == ["mteb/arguana"]


def test_unknown_task_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("mirror", str(tmp_path), "--task", "Nothing") == 1
    assert capsys.readouterr().err.startswith("error: Nothing is no task of MTEB(eng, v2)")


def test_unknown_benchmark_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("mirror", str(tmp_path), "--benchmark", "Nothing") == 1
    assert "is no benchmark of mteb" in capsys.readouterr().err


def test_check_finds_a_missing_data_set_and_missing_candidates(tmp_path: Path) -> None:
    write_standins(tmp_path, ["ArguAna", "AskUbuntuDupQuestions"])
    with pytest.raises(UserError, match="missing"):
        check_mirror(tmp_path, "MTEB(eng, v2)")
