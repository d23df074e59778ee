"""UserError: bad input, reported as one line without a traceback."""

import re

from components.base.short_lines import shorten_line

_BREAKS = {ord(one): repr(one)[1:-1] for one in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}  # as str.splitlines sees them


class UserError(Exception):
    """Bad input. The text is one line that names the file, row and field (or key path) and the cure.

    A parameter file with several errors has one line for each.

    `foundry` prints the text without a traceback and exits with 1.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(text.translate(_BREAKS))  # names from a user's file may hold any letter


_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|disk is full")  # of the system; of sqlite


def as_user_error(problem: BaseException) -> UserError | None:
    """A UserError as it is, the one line for any library's error that says that a disk is full; None for another."""
    if isinstance(problem, UserError):
        return problem
    if not _DISK_FULL.search(str(problem)):
        return None
    return UserError(f"{shorten_line(problem, 300)}; free disk space, then run it again")
