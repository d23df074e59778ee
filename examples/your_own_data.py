"""A recipe for your own pairs: written to recipes/NAME.yaml, checked, ready to run.

    python examples/your_own_data.py my/faq.jsonl
    foundry run --recipe faq
    foundry ask "how do I reset my password" --task faq

The file is JSONL or Parquet with a column `query` and a column `document`. The recipe extends the starter: your task
is trained and evaluated beside its tasks. Run it in the root of a checkout.
"""

import sys
from pathlib import Path

import yaml

from components.base.errors import UserError
from components.config import SourceParams, load_config
from components.data.formats import read_source
from components.data.origins import collect

INSTRUCTION = "Given a customer's question, retrieve its answer"


def write_recipe(pairs: Path, root: Path) -> Path:
    """Write and check the recipe; a tenth of the pairs each for dev and test.

    Raises:
        UserError: the file is not there or has a malformed row, or there is such a recipe already.
    """
    name, recipe = pairs.stem, root / "recipes" / f"{pairs.stem}.yaml"
    if recipe.exists():
        raise UserError(f"{recipe}: exists already; rename your file, or remove the recipe")
    if pairs.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{pairs}: must be .jsonl or .parquet; components/data/formats.py reads other formats too")
    origin = {"kind": "local", "path": str(pairs), "licence": "internal"}
    source = {"origin": origin, "format": pairs.suffix.removeprefix(".")}
    checked = SourceParams.model_validate(source)
    rows, _ = read_source(collect(checked, str(pairs), root / ".cache"), checked)
    tenth = len(rows) // 10
    sizes = {"train": len(rows) - 2 * tenth, "dev": tenth, "test": tenth}
    task = {"kind": "retrieval", "instruction": INSTRUCTION, **sizes}
    values = {"extends": "starter", "fetch": {"sources": {name: source}}, "prepare": {"tasks": {name: task}}}
    recipe.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    load_config(recipe)
    return recipe


if __name__ == "__main__":
    try:
        written = write_recipe(Path(sys.argv[1]), Path.cwd())
    except UserError as problem:
        sys.exit(f"error: {problem}")
    print(f"{written}: written; next: foundry run --recipe {written.stem}")
