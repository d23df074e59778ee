"""The console script `foundry`: every command's errors end here, the user's as one line, ours with a traceback."""

import sys

import typer

from components.base.errors import as_user_error
from flows.cli import data, export, models, pipeline, recipes, reference, servers, tune, watch
from flows.cli.checkout import use_code_of_checkout
from flows.cli.group import examples, new_group


def main() -> None:
    """Run the command of sys.argv; exit status 1 after a UserError or on a full disk."""
    try:
        use_code_of_checkout()
        new_app()(prog_name="foundry")
    except Exception as problem:
        known = as_user_error(problem)
        if known is None:
            raise
        for line in str(known).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1)


def new_app() -> typer.Typer:
    """Every command, in the order that --help lists them."""
    app = new_group(
        "From text pairs to an embedding model in production. `foundry COMMAND --help` explains a command.",
        examples("foundry run", 'foundry ask "is the sky blue"', "foundry plan --recipe mistral-7b"),
    )
    app.add_typer(pipeline.group)
    app.add_typer(recipes.group, name="recipes")
    app.add_typer(data.group, name="data")
    app.add_typer(export.group, name="export")
    for module in (tune, models, watch, servers, reference):
        app.add_typer(module.group)
    return app
