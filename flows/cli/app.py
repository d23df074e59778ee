"""The typer application that the command groups add themselves to."""

import typer

app = typer.Typer(
    name="foundry",
    help="From text pairs to an embedding model in production. `foundry COMMAND --help` explains and shows examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def examples(*lines: str) -> str:
    """The epilog of a command's help: one example a line."""
    return "\n  ".join(["\b\nExamples:", *lines])
