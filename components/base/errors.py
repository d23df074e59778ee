"""UserError: bad input, reported as one line without a traceback."""


class UserError(Exception):
    """Bad input. The text is one line that names the file, row and field (or key path) and the cure.

    A parameter file with several errors has one line for each.

    `foundry` prints the text without a traceback and exits with 1.
    """
