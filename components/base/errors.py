"""The one exception a user is meant to read: what is wrong, where, and what to do, in a line."""


class UserError(Exception):
    """Bad input. Its text is one line that names the file, row and field (or key path) and the cure.

    A parameter file with several errors is the exception: a line for each.

    `foundry` prints it without a traceback and exits with 1.
    """
