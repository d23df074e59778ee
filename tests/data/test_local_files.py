"""The user's own files: every change of them changes the list, and what is read is what is listed."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.checkout import home
from components.base.errors import UserError
from components.config import FetchParams, SourceParams, load_config
from components.data.kept_files import FOLDER
from components.data.local_files import LIST, find_files, listed_files, not_to_be_read, write_list
from tests.command import foundry
from tests.samples import small_parameters

KEY = "fetch.sources.faq.origin"
ROW = '{"query": "how do I reset it", "document": "Hold the button."}\n'


def checkout_with(root: Path, path: str, group: str = "sources", keep: bool = True) -> Path:
    """A checkout whose parameters name one local origin."""
    raw = small_parameters()
    origin = {"kind": "local", "path": path, "licence": "internal", "keep": keep}
    raw["fetch"][group]["faq"] = {"origin": origin} | ({"format": "jsonl"} if group == "sources" else {})
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return root


def parameters(root: Path) -> FetchParams:
    return load_config(root / "params.yaml").fetch


def listed(root: Path) -> str:
    write_list(parameters(root), root / "outputs", home(root))
    return (root / "outputs" / LIST).read_text(encoding="utf-8")


def write(path: Path, text: str = ROW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def own_data(path: str, keep: bool = True) -> Callable[[Path], Path]:
    """A checkout with my/a.jsonl and my/deep/b.jsonl, of which `path` is the source."""

    def make(root: Path) -> Path:
        write(root / "my/a.jsonl")
        write(root / "my/deep/b.jsonl")
        return checkout_with(root, path, keep=keep)

    return make


EDITS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "edited row": ("my/a.jsonl", lambda my: write(my / "a.jsonl", ROW.replace("Hold", "Push"))),
    "added row": ("my/a.jsonl", lambda my: write(my / "a.jsonl", ROW * 2)),
    "edited file of a folder": ("my", lambda my: write(my / "deep/b.jsonl", ROW * 2)),
    "file added to a folder": ("my", lambda my: write(my / "deep/c.jsonl")),
    "file deleted from a folder": ("my", lambda my: (my / "a.jsonl").unlink()),
    "file renamed": ("my", lambda my: (my / "a.jsonl").rename(my / "c.jsonl")),
    "new match of a glob": ("my/*.jsonl", lambda my: write(my / "c.jsonl")),
    "edited match of a glob": ("my/*/*.jsonl", lambda my: write(my / "deep/b.jsonl", "")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_change_of_own_files_changes_the_list(tmp_path: Path, edit: str) -> None:
    path, change = EDITS[edit]
    root = own_data(path)(tmp_path)
    before = listed(root)
    change(root / "my")
    assert listed(root) != before


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("my", lambda my: os.utime(my / "a.jsonl")),
        ("my/a.jsonl", lambda my: write(my / "a.jsonl")),
        ("my/a.jsonl", lambda my: write(my / "other.jsonl")),
        ("my/*.jsonl", lambda my: write(my / "other.csv")),
    ],
    ids=["touched", "written again", "beside the file", "no match"],
)
def test_anything_else_leaves_the_list_s_bytes_and_its_file(tmp_path: Path, path: str, change: Any) -> None:
    root = own_data(path)(tmp_path)
    before, file = listed(root), root / "outputs" / LIST
    written = file.stat().st_mtime_ns
    change(root / "my")
    assert listed(root) == before
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("format", "path", "names", "left_out"),
    [
        ("jsonl", "my", ["a.jsonl", "b.JSONL.gz", "deep/c.json"], ["README.md", "no-ending"]),
        ("parquet", "my", ["README.md", "a.jsonl", "b.JSONL.gz", "deep/c.json", "no-ending"], []),  # none fits: all
        ("text_lines", "my", ["README.md", "a.jsonl", "b.JSONL.gz", "deep/c.json", "no-ending"], []),
        ("jsonl", "my/README.md", ["README.md"], []),
        ("jsonl", "my/*", ["my/README.md", "my/a.jsonl", "my/b.JSONL.gz", "my/no-ending"], []),
        ("jsonl", "my/**/*.jsonl", ["my/a.jsonl"], []),
        ("jsonl", "my/.ipynb_checkpoints", ["a.jsonl"], []),
        ("jsonl", "my/.ipynb_checkpoints/*", ["my/.ipynb_checkpoints/a.jsonl"], []),
    ],
)
def test_which_files_of_a_folder_are_taken(
    tmp_path: Path, format: str, path: str, names: list[str], left_out: list[str]
) -> None:
    hidden = (".DS_Store", ".ipynb_checkpoints/a.jsonl", ".a.jsonl.swp", "deep/.hidden.jsonl")
    for name in ("a.jsonl", "b.JSONL.gz", "deep/c.json", "README.md", "no-ending", *hidden):
        write(tmp_path / "my" / name)
    origin = {"kind": "local", "path": path, "licence": "internal"}
    item = SourceParams.model_validate(
        {"origin": origin, "format": format, **({"pattern": "(.*)"} if format == "text_lines" else {})}
    )
    found = find_files(item, tmp_path)
    assert (found.names, found.left_out) == (names, left_out)


def test_models_count_and_other_origins_do_not(tmp_path: Path) -> None:
    root = checkout_with(tmp_path, "weights", group="models")
    write(root / "weights/config.json", "{}")
    assert set(json.loads(listed(root))) == {"fetch.models.faq.origin"}


def test_two_checkouts_list_the_same_bytes(tmp_path: Path) -> None:
    assert listed(own_data("my")(tmp_path / "one")) == listed(own_data("my")(tmp_path / "two"))


def test_an_isolated_run_lists_the_checkout_s_files(tmp_path: Path) -> None:
    root = own_data("my/*.jsonl")(tmp_path)
    place = root / ".cache" / "runs" / "pipeline-1"
    place.mkdir(parents=True)
    shutil.copyfile(root / "params.yaml", place / "params.yaml")
    assert listed(place) == listed(root)
    write(root / "my/new.jsonl")
    assert listed(place) == listed(root)
    assert "my/new.jsonl" in listed(place)


def test_a_path_without_a_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout_with(tmp_path, "my/faq.jsonl"))
    (tmp_path / "dvc.yaml").touch()
    assert foundry("stage", "local_files") == 1
    said = f"{KEY}.path: my/faq.jsonl in {tmp_path}: no such file or folder; correct the path"
    assert capsys.readouterr().err == f"error: local_files: {said}\n"
    (tmp_path / "my" / "empty").mkdir(parents=True)
    monkeypatch.chdir(checkout_with(tmp_path, "my/empty"))
    with pytest.raises(UserError, match=r"my/empty in .*: a folder without files; correct the path$"):
        listed(tmp_path)


def test_a_deleted_file_is_refused_and_one_of_another_machine_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = own_data("my/a.jsonl")(tmp_path / "mine")
    before = listed(root)
    clone = checkout_with(tmp_path / "clone", "my/a.jsonl")
    write(clone / "outputs" / LIST, before)  # as `dvc pull` brings it
    assert listed(clone) == before
    assert capsys.readouterr().out == f"{KEY}: my/a.jsonl is not on this machine; the version that DVC has is used\n"

    write(clone / "my/a.jsonl", ROW * 3)
    assert listed(clone) != before, "a file that is there counts"
    for place in (root, clone):
        (place / "my/a.jsonl").unlink()
        with pytest.raises(UserError, match=r"my/a\.jsonl in .*: no such file or folder"):
            listed(place)


def copies(root: Path) -> list[str]:
    """Texts of the copies that are kept."""
    return sorted(copy.read_text(encoding="utf-8") for copy in (root / "outputs" / FOLDER).glob("*"))


def texts_read(root: Path, change: Callable[[], Any] = lambda: None) -> dict[str, str]:
    """What a stage reads of the origin, by name, with a change during it."""
    item = parameters(root).sources["faq"]
    with listed_files(item, KEY, root / "outputs", root, root / "place") as own:
        assert own is not None
        found, listing = own
        assert sorted(listing.files) == found.names
        texts = {name: (found.root / name).read_text(encoding="utf-8") for name in found.names}
        change()
    return texts


def test_what_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    root = own_data("my", keep=False)(tmp_path)
    listed(root)
    assert not (root / "outputs" / FOLDER).exists()
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    with pytest.raises(UserError, match=rf"^{KEY}: {root}/my/a\.jsonl: changed during the run; run again"):
        texts_read(root, lambda: write(root / "my/a.jsonl", ROW * 2))
    with pytest.raises(UserError, match=r"my/a\.jsonl: changed during the run"):
        texts_read(root, lambda: pytest.fail("must not be read"))
    listed(root)
    with pytest.raises(UserError, match=r"my/new\.jsonl: changed during the run"):
        texts_read(root, lambda: write(root / "my/new.jsonl"))
    item = parameters(root).sources["faq"]
    with (
        pytest.raises(UserError, match=r"^fetch\.sources\.other\.origin: not in .*files\.json; .*dvc repro fetch"),
        listed_files(item, "fetch.sources.other.origin", root / "outputs", root, root / "place"),
    ):
        pass


def test_what_has_changed_since_it_was_listed_is_read_from_its_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, edited = own_data("my")(tmp_path), ROW.replace("Hold", "Push")
    listed(root)
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    assert not (root / "place").exists(), "the user's own files are read where they are as listed"
    write(root / "my/a.jsonl", edited)
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    shutil.rmtree(root / "my")
    assert texts_read(root) == {"a.jsonl": ROW, "deep/b.jsonl": ROW}
    assert capsys.readouterr().out.count("the copy that DVC keeps is read") == 2


@pytest.mark.parametrize("path", ["../data/*.jsonl", "my/../../data/*.jsonl"])
def test_copies_of_a_glob_above_the_checkout_are_laid_out_in_their_place(tmp_path: Path, path: str) -> None:
    root = checkout_with(tmp_path / "root", path)
    (root / "my").mkdir()
    write(tmp_path / "data/.a.jsonl.swp.jsonl")
    file = write(tmp_path / "data/a.jsonl")
    before = json.loads(listed(root))[KEY]["files"]
    assert list(before) == ["data/a.jsonl"], "a hidden file is left out"
    file.unlink()
    item, place = parameters(root).sources["faq"], root / ".cache" / "work" / "laid"
    with listed_files(item, KEY, root / "outputs", root, place) as found:
        assert found is not None
        assert (found[0].root / found[0].names[0]).read_text() == ROW
    assert [file.relative_to(root).as_posix() for file in root.rglob("a.jsonl")] == [".cache/work/laid/data/a.jsonl"]


def test_a_copy_is_kept_for_each_content_and_no_other(tmp_path: Path) -> None:
    root = own_data("my")(tmp_path)
    listed(root)
    assert copies(root) == [ROW], "two files of one content"
    (copy,) = (root / "outputs" / FOLDER).glob("*")
    made = copy.stat().st_mtime_ns
    (copy.parent / ".left-by-a-kill").touch()
    (root / "my/a.jsonl").rename(root / "my/c.jsonl")
    write(root / "my/b.jsonl", ROW * 2)
    listed(root)
    assert copies(root) == [ROW, ROW * 2]
    assert copy.stat().st_mtime_ns == made, "a renamed file is not copied again"
    assert copy.stat().st_ino != (root / "my/c.jsonl").stat().st_ino, "DVC makes its files read-only"
    checkout_with(root, "my", keep=False)
    listed(root)
    assert copies(root) == []


def test_a_file_that_is_being_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_data("my/a.jsonl")(tmp_path)
    monkeypatch.setattr("components.base.hash_index.HashIndex.hash", lambda index, path: "0" * 64)
    with pytest.raises(UserError, match=r"my/a\.jsonl: is being written; run again when it is complete"):
        listed(root)
    assert copies(root) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*streams: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = own_data("my/a.jsonl")(tmp_path)
    for module in ("fcntl.ioctl", "shutil.copyfileobj"):
        monkeypatch.setattr(f"components.data.kept_files.{module}", full)
    with pytest.raises(UserError, match=r"my/a\.jsonl: cannot be copied to .* \(No space left on device\); free disk"):
        listed(root)
    assert not list((root / "outputs" / FOLDER).iterdir())


def test_what_can_be_read_as_it_was_listed(tmp_path: Path) -> None:
    for keep in (False, True):
        root = own_data("my", keep)(tmp_path / str(keep))
        listed(root)
        fetch = parameters(root)
        assert not_to_be_read(root / "outputs", fetch, root) == []
        write(root / "my/a.jsonl", ROW * 2)
        assert not_to_be_read(root / "outputs", fetch, root) == ([] if keep else ["my"])
        shutil.rmtree(root / "my")
        assert not_to_be_read(root / "outputs", fetch, root) == ([] if keep else ["my"])
