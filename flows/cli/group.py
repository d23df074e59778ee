"""Helpers for groups of commands: plain help texts, with examples below."""

import typer


def new_group(help_text: str | None = None, epilog: str | None = None) -> typer.Typer:
    """A group of commands; tracebacks and help stay plain text."""
    return typer.Typer(
        help=help_text,
        epilog=epilog,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def examples(*lines: str) -> str:
    """The epilog of a command's help: one example a line."""
    return "\n  ".join(["\b\nExamples:", *lines])
