"""A UserError is one line, also with line breaks in a user's names."""

import pickle

import pytest

from components.base.errors import UserError, as_user_error


def test_what_breaks_a_line_in_a_name_is_escaped_and_several_errors_keep_their_lines() -> None:
    problem = UserError("a.jsonl: row 1: it has '\x1e\u2028\r': correct the file\nb: another")
    assert str(problem).splitlines() == [r"a.jsonl: row 1: it has '\x1e\u2028\r': correct the file", "b: another"]
    assert str(pickle.loads(pickle.dumps(problem))) == str(problem)  # noqa: S301  a worker's error travels so


@pytest.mark.parametrize(
    "problem",
    [
        OSError(28, "No space left on device", "a.parquet"),
        RuntimeError("IoError(Os { code: 28 })\nNo space left on device"),
    ],
)
def test_a_full_disk_is_one_line_with_the_cure(problem: Exception) -> None:
    [line] = str(as_user_error(problem)).splitlines()
    assert "No space left on device" in line
    assert line.endswith("; free disk space, then run it again")
    assert as_user_error(ValueError("ours")) is None
