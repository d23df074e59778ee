"""Our md5 of an output is DVC's; ancestry goes all the way up."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.tracking.versions import ancestry, dvc_md5, locked_outputs, stage_inputs
from tests.checkouts import make_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository whose two stages have run."""
    root = tmp_path_factory.mktemp("versions")
    folder = "mkdir -p outputs/a/deep && cp in.txt outputs/a/deep/x.txt && cp in.txt 'outputs/a/ü b.txt'"
    stages = {
        "a": {"cmd": folder, "deps": ["in.txt"], "outs": ["outputs/a"]},
        "b": {"cmd": "cp in.txt b.bin", "deps": ["outputs/a"], "outs": [{"b.bin": {"persist": True}}]},
        "c": {"cmd": "true", "deps": ["b.bin", "code.py"]},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / "in.txt").write_text("text\n")
    (root / "code.py").write_text("pass\n")
    make_repository(root)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "a", "b"], cwd=root, check=True)
    return root


def test_md5_is_dvc_s_own(repository: Path) -> None:
    known = locked_outputs(repository)
    assert dvc_md5(repository / "outputs/a") == known["outputs/a"]["md5"]
    assert dvc_md5(repository / "b.bin") == known["b.bin"]["md5"]


def test_ancestry_reaches_the_first_file(repository: Path) -> None:
    assert set(ancestry(repository, "c")) == {"b.bin", "outputs/a", "in.txt"}
    assert [item["path"] for item in stage_inputs(repository, "c")] == ["b.bin"]
