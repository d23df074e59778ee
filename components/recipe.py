"""Take a recipe: `python -m components.recipe NAME` makes recipes/NAME.yaml the parameters of the run at hand."""

import shutil
import sys
from pathlib import Path

from components.base.errors import UserError
from components.config import load_config


def take_recipe(name: str, root: Path) -> None:
    """Copy recipes/`name`.yaml over params.yaml once it is valid.

    Raises:
        UserError: there is no such recipe, it is not valid, or params.yaml holds edits that no recipe holds (they
            would be lost).
    """
    recipes = root / "recipes"
    chosen, current = recipes / f"{name}.yaml", root / "params.yaml"
    if not chosen.is_file():
        known = ", ".join(sorted(path.stem for path in recipes.glob("*.yaml")))
        raise UserError(f"recipes/{name}.yaml: no such recipe; there are {known}")
    load_config(chosen)
    if current.is_file():
        held = current.read_bytes()
        if held == chosen.read_bytes():
            return
        if all(held != path.read_bytes() for path in recipes.glob("*.yaml")):
            raise UserError("params.yaml: has edits of your own; save it as recipes/<name>.yaml, then take the recipe")
    shutil.copyfile(chosen, current.with_suffix(".partial"))
    current.with_suffix(".partial").replace(current)


def main(arguments: list[str]) -> int:
    """Command line; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m components.recipe NAME", file=sys.stderr)
        return 2
    try:
        take_recipe(arguments[0], Path.cwd())
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
