"""What a new machine may lack: make says it in one line with the cure, before anything is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import ROOT

OLD = "import sys; sys.version_info = (3, 10, 12); exec(sys.argv[2])"


def write_old_python(file: Path) -> Path:
    """A Python that says that it is 3.10.12."""
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{OLD}" "$@"\n')
    file.chmod(0o755)
    return file


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed, with a python3 of Ubuntu 22.04 beside the one that runs the tests."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    write_old_python(tmp_path / "python3.10")
    return tmp_path


def error(folder: Path, *arguments: str, path: str = "/usr/bin:/bin") -> str:
    """The one error line of `make run`."""
    command = ["/usr/bin/make", "run", *arguments]
    done = subprocess.run(command, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    return line


def test_each_first_contact_is_one_line_with_the_cure(fresh: Path) -> None:
    said = error(fresh, "PYTHON=./python3.10")
    assert said.startswith("error: ./python3.10 is missing or not Python 3.11 to 3.13: install one")
    assert said.endswith("make run PYTHON=python3.11")
    (fresh / ".venv").mkdir()
    assert error(fresh).startswith("error: .venv is incomplete or has another Python than 3.11 to 3.13: make remake")
    shutil.rmtree(fresh / ".git")
    said = error(fresh)
    assert "not a git repository (a downloaded zip?); clone it instead, or: git init" in said
    bare = fresh / "bin"
    bare.mkdir()
    for name in ("sh", "bash", "sed"):
        (bare / name).symlink_to(f"/bin/{name}")
    assert error(fresh, path=str(bare)).startswith("error: git is not installed")


def test_a_moved_checkout_s_environment_is_one_line_with_the_cure(fresh: Path) -> None:
    (fresh / ".venv/bin").mkdir(parents=True)
    foundry = fresh / ".venv/bin/foundry"
    for name in (".run", ".test"):
        (fresh / ".venv" / name).touch()  # it was whole where it was made
    foundry.touch()
    foundry.chmod(0o755)
    for first in ("#!/gone/.venv/bin/python3.11", '#!/bin/sh\n\'\'\'exec\' "/gone away/.venv/bin/python" "$0" "$@"'):
        foundry.write_text(f"{first}\n")
        said = error(fresh)
        assert said.startswith("error: .venv was made in another folder (was this checkout moved?) or its Python is")
        assert said.endswith("gone: make remake")
    foundry.write_text(f"#!/bin/sh\n: {sys.prefix}/bin/python\necho ran\n")
    command = ["/usr/bin/make", "run"]
    done = subprocess.run(command, cwd=fresh, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n", "an environment that is whole is not checked again"
