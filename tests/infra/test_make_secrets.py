"""Secrets are made once, kept, rotated by name, and readable by nobody else."""

import ssl
import stat
from pathlib import Path

from infra.make_secrets import DASK_FILES, NAMES, YOURS, make_secrets


def test_makes_every_secret_once(tmp_path: Path) -> None:
    assert set(make_secrets(tmp_path / "s")) == {*NAMES, *YOURS}
    first = {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}
    assert make_secrets(tmp_path / "s") == []
    assert {path.name: path.read_text() for path in (tmp_path / "s").iterdir()} == first
    texts = [text for text in first.values() if text]
    assert len(set(texts)) == len(texts)
    assert min(len(text) for text in texts) >= 20


def test_only_the_owner_reaches_them(tmp_path: Path) -> None:
    make_secrets(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "s").iterdir()} == {0o444}


def test_rotation_keeps_the_old_text_and_the_file(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before, inode = (tmp_path / "prefect_auth").read_text(), (tmp_path / "prefect_auth").stat().st_ino
    others = {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != "prefect_auth"}
    assert make_secrets(tmp_path, ("prefect_auth",)) == ["prefect_auth"]
    assert (tmp_path / "prefect_auth").read_text() != before
    assert (tmp_path / "prefect_auth.old").read_text() == before
    assert (tmp_path / "prefect_auth").stat().st_ino == inode, "a container that has it mounted would keep the old one"
    assert {name: (tmp_path / name).read_text() for name in others} == others


def test_dask_files_fit_together_and_are_rotated_together(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    assert set(make_secrets(tmp_path, ("dask_key.pem",))) == set(DASK_FILES)
    context = ssl.create_default_context(cafile=tmp_path / "dask_ca.pem")
    context.load_cert_chain(tmp_path / "dask_cert.pem", tmp_path / "dask_key.pem")  # raises where key and cert differ
    assert context.get_ca_certs()[0]["subject"] == ((("commonName", "foundry dask authority"),),)


def test_your_git_credentials_are_never_overwritten(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    (tmp_path / "git_credentials").chmod(0o600)
    (tmp_path / "git_credentials").write_text("https://me:token@example.invalid")
    make_secrets(tmp_path, NAMES)
    assert (tmp_path / "git_credentials").read_text() == "https://me:token@example.invalid"
