"""Commands about the user's own files."""

from pathlib import Path
from typing import Annotated

import typer

from components.base.checkout import find_checkout
from components.base.errors import UserError
from components.base.short_lines import shorten_line
from flows.cli.group import examples, new_group

group = new_group("Your own files: what they are, and how to read them.", examples("foundry data inspect my/faq.csv"))


@group.callback()
def data() -> None:
    """Your own files: what they are, and how to read them."""


@group.command(epilog=examples("foundry data inspect my/faq.csv", "foundry data inspect ~/beir/scifact"))
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a file, a folder or a .zip")],
) -> None:
    """Name the layout of a file or folder, show three rows, and print the block for params.yaml.

    Reads all of it, as fetch would, and writes nothing. Exit status 1 when no layout reads it.
    """
    import yaml

    from components.data.inspection import inspect_path, paste_block, source_name

    finding = inspect_path(file)
    if finding.problem:
        raise UserError(f"looks like {finding.about}, and does not read: {finding.problem}")
    print(f"{file}: {finding.about} (format: {finding.settings['format']}), {len(finding.rows):,} rows")
    for number, row in enumerate(finding.rows.head(3).to_dicts(), start=1):
        cells = (f"{name}: {shorten_line(value, 60)}" for name, value in row.items() if value is not None)
        print(f"  row {number}  " + " | ".join(cells))
    if "encoding" in finding.settings:
        print("the encoding is a guess by the letters; look at the rows")
    for line in finding.counts.lines():
        print(line)
    print("\nFor params.yaml or a recipe:\n")
    checkout = find_checkout(Path.cwd())
    path = file.expanduser().resolve()
    shown = path.relative_to(checkout) if checkout and path.is_relative_to(checkout) else path
    block = paste_block(finding, str(shown), source_name(file))
    print(yaml.safe_dump(block, sort_keys=False, allow_unicode=True), end="")
