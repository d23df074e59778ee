"""Commands about recipes."""

from pathlib import Path
from typing import Annotated

import typer

from components.base.errors import UserError
from flows.cli.checkout import enter_checkout
from flows.cli.group import examples, new_group

group = new_group(
    "Whole parameter files by name: list, show, validate, copy.",
    examples("foundry recipes list", "foundry recipes copy starter recipes/mine.yaml"),
)

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="a file of recipes/, without .yaml")]


@group.command("list", epilog=examples("foundry recipes list"))
def list_() -> None:
    """The recipes of this checkout, a line each."""
    root = enter_checkout()
    from components.config.recipes import list_recipes

    found = list_recipes(root)
    width = max((len(name) for name in found), default=0)
    for name, about in found.items():
        print(f"{name:{width}}  {about}")


@group.command(epilog=examples("foundry recipes show mistral-7b", "foundry recipes show starter --set train.steps=50"))
def show(
    name: Name,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one value on top; repeatable")
    ] = None,
) -> None:
    """Print the params.yaml that a recipe makes."""
    root = enter_checkout()
    from components.config.overrides import parse_overrides
    from components.config.recipes import show_recipe

    print(show_recipe(name, root, parse_overrides(change or [])), end="")


@group.command(
    epilog=examples(
        "foundry recipes validate", "foundry recipes validate starter", "foundry recipes validate params.yaml"
    )
)
def validate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE|FILE", help="all recipes and params.yaml when left out")
    ] = None,
) -> None:
    """Check parameter files.

    Every unknown key and every wrong value of a file is one line; exit status 1 when there is one.
    """
    here = Path.cwd()
    root = enter_checkout()
    from components.config import load_config
    from components.config.extends import FOLDER, recipe_file

    folder = root / FOLDER
    problems: list[str] = []
    paths = [here / name if name.endswith(".yaml") else recipe_file(name, folder) for name in names or []]
    for path in paths or [root / "params.yaml", *sorted(folder.glob("*.yaml"))]:
        try:
            load_config(path)
        except UserError as problem:
            problems.append(str(problem))
        else:
            print(f"{path.relative_to(root) if path.is_relative_to(root) else path}: valid")
    if problems:
        raise UserError("\n".join(problems))


@group.command(epilog=examples("foundry recipes copy starter recipes/mine.yaml", "foundry run --recipe mine"))
def copy(
    name: Name,
    file: Annotated[Path, typer.Argument(resolve_path=True, help="the new file, recipes/NAME.yaml")],
) -> None:
    """Begin a recipe of your own.

    It extends another one and holds only the lines that you change.
    """
    root = enter_checkout()
    from components.config.recipes import copy_recipe

    copy_recipe(name, file, root)
    print(f"{file}: written; edit it, then: foundry run --recipe {file.stem}")
