"""The console script `foundry`: every command's errors end here, the user's as one line, ours with a traceback."""

import sys
from importlib import import_module

from components.base.errors import UserError
from flows.cli.checkout import use_code_of_checkout

GROUPS = ("pipeline", "recipes", "models", "servers", "benchmark")  # in the order that --help lists them


def main() -> None:
    """Run the command of sys.argv; exit status 1 after a UserError."""
    try:
        use_code_of_checkout()
        from flows.cli.app import app

        for group in GROUPS:
            import_module(f"flows.cli.{group}")  # adds its commands to `app`
        app(prog_name="foundry")
    except UserError as problem:
        for line in str(problem).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1)
