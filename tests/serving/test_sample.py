"""The sample of served queries: redacted, private, bounded, and only what was asked for."""

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.serving.sample import FILE, QuerySample, read_sample, redact

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("see https://example.com/a?token=1 now", "see <url> now"),
        ("use postgres://ann:secret@db/x here", "use <url> here"),
        ("my mail is ann.b+c@mail.example.co.uk", "my mail is <email>"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN <iban> please"),
        ("key sk_live_51HxYzABCDEFGH1234567 leaked", "key <secret> leaked"),
        ("call +49 (30) 123-4567", "call <number>"),
        ("3 apples on 12 trees", "3 apples on 12 trees"),
        ("internationalisation-of-everything", "internationalisation-of-everything"),
    ],
)
def test_addresses_and_numbers_are_replaced(text: str, kept: str) -> None:
    assert redact(text) == kept


def test_a_share_is_kept_with_nothing_but_day_task_and_text(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    QuerySample(folder, share=0.0).note("faq", ["never kept"])
    assert read_sample(folder, 30, NOW) == {}
    QuerySample(folder, share=1.0).note("faq", ["who is ann@example.com", "why", "why"])
    assert read_sample(folder, 30, NOW) == {"faq": ["who is <email>", "why"]}
    file = folder / FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(json.loads(file.read_text().splitlines()[0])) == {"day", "task", "query"}


def test_the_oldest_go_and_old_days_are_not_read(tmp_path: Path) -> None:
    sample = QuerySample(tmp_path, share=1.0, most=8)
    for number in range(12):
        sample.note("faq", [f"{'long ' * 30}{chr(97 + number)}"])
    kept = read_sample(tmp_path, 30, NOW)["faq"]
    assert len(kept) <= 9
    assert kept[-1].endswith("l"), "the newest stays"
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert read_sample(tmp_path, 30, datetime(NOW.year + 1, 1, 31, tzinfo=UTC)) == {}


def test_a_full_disk_costs_queries_and_neither_the_answer_nor_the_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sample, write = QuerySample(tmp_path, share=1.0), os.write

    def cut(handle: int, data: bytes) -> int:
        write(handle, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", cut)
        sample.note("faq", ["lost"])
        sample.note("faq", ["lost too"])
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    sample.note("faq", ["kept"])
    assert read_sample(tmp_path, 30, NOW) == {"faq": ["kept"]}


def test_a_request_does_not_wait_for_the_whole_file_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads = Path.read_text, list[Path]()

    def note_read(path: Path, *arguments: Any, **options: Any) -> str:
        reads.append(path)
        return read(path, *arguments, **options)

    sample = QuerySample(tmp_path, share=1.0, most=20)
    monkeypatch.setattr(Path, "read_text", note_read)
    for number in range(40):
        sample.note("faq", [f"{'long ' * 100}{number}"])
    assert len(reads) <= 6
