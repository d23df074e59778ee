"""Commands that copy or refresh what the project refers to: public benchmarks, scores, the page of parameters."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.checkout import enter_checkout
from flows.cli.group import examples, new_group

group = new_group()
BENCHMARK = "MTEB(eng, v2)"


@group.command(epilog=examples("foundry mirror /data/mteb", "foundry mirror /data/mteb --check"))
def mirror(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the copies go")],
    benchmark: Annotated[str, typer.Option(help="of mteb")] = BENCHMARK,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="only this task; repeatable; default: all of the benchmark")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="fetch nothing, only look whether it is complete")] = False,
) -> None:
    """Copy a benchmark's data sets from the hub.

    For machines without a network; an interrupted copy continues. Works outside a checkout too.
    """
    from components.benchmark.mirror import check_mirror, from_hub, make_mirror

    if check:
        check_mirror(folder, benchmark)
        print(f"{folder}: complete")
        return
    fetched = make_mirror(folder, benchmark, from_hub, tasks or [])
    print(f"{folder}: {len(fetched)} data sets fetched; set evaluate.mirror to this folder")


@group.command("public-scores", epilog=examples("foundry public-scores ../results"))
def public_scores(
    results: Annotated[Path, typer.Argument(metavar="CLONE", help="of github.com/embeddings-benchmark/results")],
) -> None:
    """Refresh the shipped table of public MTEB scores.

    Writes components/evaluation/public (for work on the code).
    """
    from components.evaluation.standing import refresh

    table = refresh(results)
    print(f"{table['model'].n_unique()} models, {table.height:,} scores")


@group.command(epilog=examples("foundry parameters"))
def parameters() -> None:
    """Write docs/parameters.md and the schema for editors.

    Both are made from the typed parameters in components/config; a test fails when they are out of date.
    """
    root = enter_checkout()
    from components.config.reference import write_reference

    for name in write_reference(root):
        print(f"{name}: written")
