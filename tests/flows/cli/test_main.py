"""Every command: its help, where it may run, and how it says what is wrong."""

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from components.base.errors import UserError
from flows.cli import main as module
from flows.cli.main import new_app
from tests.command import foundry
from tests.samples import ROOT

ANYWHERE = {"data", "gate", "mirror", "public-scores"}  # they need no checkout
ARGUMENTS = {
    "stage": ["prepare"],
    "join": ["train"],
    "ask": ["x"],
    "promote": ["--because", "x"],
    "rollback": ["--because", "x"],
    "evaluate": ["1"],
    "lineage": ["1"],
    "reproduce": ["1"],
    "compare": ["--queries", "x"],
    "export folder": ["x"],
    "export onnx": ["x"],
    "export sides": ["x"],
    "recipes show": ["starter"],
    "recipes copy": ["starter", "recipes/mine.yaml"],
}


def leaves(command: typer.core.TyperCommand, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, below groups too."""
    if not isinstance(command, typer.core.TyperGroup):
        yield path
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


COMMANDS = list(leaves(typer.main.get_command(new_app())))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_quick_has_an_example_and_touches_no_file(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert foundry(*command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: foundry {' '.join(command)} ")
    example = f"foundry {' '.join(command)}"
    assert example in said.partition("Examples:")[2]
    assert files(tmp_path) == [tmp_path / "dvc.yaml"]


def test_the_pages_name_commands_that_exist() -> None:
    files = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / name for name in ("Makefile", "dvc.yaml"))]
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    command = re.compile(r"(?<![\w-])foundry ([a-z][a-z-]*)")
    named = {(name, word) for name, text in texts.items() for word in command.findall(text)}
    known = {words[0] for words in COMMANDS}
    assert len(named) > 20
    assert [(name, word) for name, word in sorted(named) if word not in known] == []


def test_groups_and_the_whole_have_help_too(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["recipes"]):
        assert foundry(*arguments, "--help") == 0
        assert "Examples:" in capsys.readouterr().out


HEAVY = ("torch", "prefect", "mlflow", "dvc", "transformers", "polars", "numpy", "yaml")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """What makes it quick, counted in modules: seconds depend on what else the machine does."""
    code = (
        "import sys; sys.argv = ['foundry', 'run', '--help']\n"
        "from flows.cli.main import main\n"
        "try: main()\n"
        f"finally: print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert files(tmp_path) == []


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] not in ANYWHERE], ids=" ".join)
def test_outside_a_checkout_is_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert foundry(*command, *ARGUMENTS.get(" ".join(command), [])) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: no checkout here (no dvc.yaml in it or above); change to yours with cd\n"
    )
    assert files(tmp_path) == []


def test_an_error_of_several_lines_is_marked_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise UserError("a.yaml: b: unknown\na.yaml: c: unknown")

    monkeypatch.setattr(module, "use_code_of_checkout", refuse)
    assert foundry("table") == 1
    assert capsys.readouterr().err == "error: a.yaml: b: unknown\nerror: a.yaml: c: unknown\n"


def test_a_full_disk_is_one_line_for_commands_and_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "outputs/x")

    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.cli.pipeline._run_stage", fill)
    assert foundry("stage", "prepare") == 1
    assert capsys.readouterr().err.startswith("error: prepare: [Errno 28] No space left on device: 'outputs/x'; free")
    monkeypatch.setattr(module, "use_code_of_checkout", fill)
    assert foundry("table") == 1
    assert capsys.readouterr().err.startswith("error: [Errno 28] No space left on device: 'outputs/x'; free")


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> None:
        raise ValueError("ours")

    monkeypatch.setattr(module, "use_code_of_checkout", break_down)
    with pytest.raises(ValueError, match="ours"):
        foundry("table")


def test_an_unknown_command_names_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("aks", "x") == 2
    assert "'ask'" in capsys.readouterr().err
