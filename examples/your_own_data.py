"""A recipe for your own pairs: written to recipes/NAME.yaml, checked, ready to run.

    python examples/your_own_data.py my/faq.jsonl
    foundry run --recipe faq
    foundry ask "how do I reset my password" --task faq

The file is in any layout of docs/data.md, as `foundry data inspect` finds it. The recipe extends the starter: your task
is trained and evaluated beside its tasks. Run it in the root of a checkout.
"""

import sys
from pathlib import Path

import yaml

from components.base.errors import UserError
from components.config import load_config
from components.data.inspection import inspect_path, paste_block, source_name

INSTRUCTION = "Given a customer's question, retrieve its answer"


def write_recipe(pairs: Path, root: Path) -> Path:
    """Write and check the recipe; a tenth of the queries each for dev and test.

    Raises:
        UserError: the file is not there, has a malformed row or no known layout, or there is such a recipe already.
    """
    name = source_name(pairs)
    recipe = root / "recipes" / f"{name}.yaml"
    if recipe.exists():
        raise UserError(f"{recipe}: exists already; rename your file, or remove the recipe")
    finding = inspect_path(pairs)
    if finding.problem:
        raise UserError(finding.problem)
    values = {"extends": "starter", **paste_block(finding, str(pairs), name)}
    values["prepare"]["tasks"][name]["instruction"] = INSTRUCTION
    recipe.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    load_config(recipe)
    return recipe


if __name__ == "__main__":
    try:
        written = write_recipe(Path(sys.argv[1]), Path.cwd())
    except UserError as problem:
        sys.exit(f"error: {problem}")
    print(f"{written}: written; next: foundry run --recipe {written.stem}")
