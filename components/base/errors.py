"""UserError: bad input, reported as one line without a traceback."""

_BREAKS = {ord(one): repr(one)[1:-1] for one in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}  # as str.splitlines sees them


class UserError(Exception):
    """Bad input. The text is one line that names the file, row and field (or key path) and the cure.

    A parameter file with several errors has one line for each.

    `foundry` prints the text without a traceback and exits with 1.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(text.translate(_BREAKS))  # names from a user's file may hold any letter
