"""A UserError is one line, also with line breaks in a user's names."""

import pickle

from components.base.errors import UserError


def test_what_breaks_a_line_in_a_name_is_escaped_and_several_errors_keep_their_lines() -> None:
    problem = UserError("a.jsonl: row 1: it has '\x1e\u2028\r': correct the file\nb: another")
    assert str(problem).splitlines() == [r"a.jsonl: row 1: it has '\x1e\u2028\r': correct the file", "b: another"]
    assert str(pickle.loads(pickle.dumps(problem))) == str(problem)  # noqa: S301  a worker's error travels so
