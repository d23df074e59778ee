"""`foundry export`: a model in a folder, for a client of your choice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.checkout import enter_checkout
from flows.cli.group import examples, new_group

if TYPE_CHECKING:
    from components.serving.ask import Model

group = new_group("Write a model into a folder, for a client of your choice. docs/serving.md shows how each reads it.")
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", resolve_path=True, help="a new folder")]
Version = Annotated[str, typer.Option(help="of the registry; default: the model in outputs/train")]


def _model(version: str) -> "Model":
    root = enter_checkout()
    from components.base.log import quiet_libraries

    quiet_libraries(progress_bars=False)
    from components.serving.ask import registered_model, trained_model

    return registered_model(root, version) if version else trained_model(root / "outputs")


@group.command(epilog=examples("foundry export folder my-model", "foundry export folder my-model --version production"))
def folder(folder: Folder, version: Version = "") -> None:
    """As sentence-transformers 6, transformers, TEI and vLLM read it, with the chosen shots."""
    from components.serving.copies import export_folder

    print(export_folder(_model(version), folder))


@group.command(epilog=examples("foundry export onnx my-onnx", "foundry export onnx my-onnx --version production"))
def onnx(folder: Folder, version: Version = "") -> None:
    """For ONNX Runtime and transformers.js: one graph, pooling included."""
    from components.serving.onnx import export_onnx

    print(export_onnx(_model(version), folder))


@group.command(epilog=examples("foundry export sides my-sides"))
def sides(folder: Folder, version: Version = "") -> None:
    """For sentence-transformers 5, Infinity, TEI: a folder for queries, one for documents."""
    from components.serving.sides import export_sides

    export_sides(_model(version), folder)
    print(folder)
