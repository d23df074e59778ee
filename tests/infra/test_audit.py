"""The offline audit: what is affected is found, what is fixed, withdrawn or another package is not."""

from pathlib import Path

import pytest
from packaging.version import Version

from infra import audit

ADVISORY = """
id: PYSEC-2026-1
modified: "2026-02-03T00:00:00Z"
aliases: [CVE-2026-1]
affected:
- package: {ecosystem: PyPI, name: Some_Package}
  ranges:
  - type: GIT
    events: [{introduced: "0"}, {fixed: abc}]
  - type: ECOSYSTEM
    events: [{introduced: "1.2"}, {fixed: 1.4.1}, {introduced: "2.0"}, {last_affected: 2.0.3}]
  versions: ["1.0.post1"]
"""


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1.1", False), ("1.2", True), ("1.4.0", True), ("1.4.1", False), ("2.0.3", True), ("2.0.4", False),
     ("1.0.post1", True), ("1.10", False)],
)  # fmt: skip
def test_ranges_decide(tmp_path: Path, version: str, hit: bool) -> None:
    folder = tmp_path / "vulns" / "some-package"
    folder.mkdir(parents=True)
    (folder / "PYSEC-2026-1.yaml").write_text(ADVISORY)
    lines = list(audit.findings(tmp_path, {"some-package": Version(version), "other": Version(version)}))
    assert lines == ([f"some-package {version}: PYSEC-2026-1, CVE-2026-1"] if hit else [])


def test_the_command_says_how_old_its_knowledge_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "vulns" / "some-package"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text(ADVISORY)
    (folder / "b.yaml").write_text(ADVISORY + "withdrawn: 2026-03-01T00:00:00Z\n")
    (tmp_path / "constraints.txt").write_text("# made by uv\nsome_package==1.3 ; sys_platform == 'linux'\n")
    assert audit.main([str(tmp_path), str(tmp_path / "constraints.txt")]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["1 packages, 1 vulnerabilities known by 2026-02-03"]
    (tmp_path / "constraints.txt").write_text("some_package==1.4.1\n")
    assert audit.main([str(tmp_path), str(tmp_path / "constraints.txt")]) == 0


def test_a_folder_that_is_no_database_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main([str(tmp_path)]) == 2
    assert "vulns/" in capsys.readouterr().err
