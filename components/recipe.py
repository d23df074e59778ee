"""Take a recipe: `python -m components.recipe NAME [KEY=VALUE ...]` makes it the parameters of the run at hand."""

import sys
from pathlib import Path

from components.base.errors import UserError
from components.config.overrides import parse_overrides
from components.config.recipes import take_recipe


def main(arguments: list[str]) -> int:
    """Command line; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m components.recipe NAME [KEY=VALUE ...]", file=sys.stderr)
        return 2
    try:
        take_recipe(arguments[0], Path.cwd(), parse_overrides(arguments[1:]))
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
