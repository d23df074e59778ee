"""Texts and exceptions on one line, cut to a length."""

MOST = 200  # letters of an exception: libraries print pages


def shorten_line(text: object, letters: int) -> str:
    """The text on one line, of at most so many letters; the last one is an ellipsis where some are missing.

    >>> shorten_line("two\\nlines", 20), shorten_line("abcdefg", 6)
    ('two lines', 'abcde…')
    """
    line = " ".join(str(text).split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def describe_exception(problem: BaseException) -> str:
    """The message of a library's exception, for the text of a UserError; its type if it has none."""
    return shorten_line(problem, MOST) or type(problem).__name__
