"""Commands around an approval and after a promotion: two versions side by side, and the monitor."""

from pathlib import Path
from typing import Annotated, Any

import typer

from components.base.errors import UserError
from components.tracking.registry import CANDIDATE, DEFAULT_NAME, PRODUCTION
from flows.cli.checkout import enter_checkout, enter_for_flows
from flows.cli.group import examples, new_group

group = new_group()
VERSION = "number or alias of a version; MODEL/VERSION for another model than embedding-foundry"


@group.command(
    epilog=examples(
        "foundry compare --queries my/queries.txt                     # candidate beside production",
        "foundry compare 7 --against 5 --queries my/queries.jsonl --corpus my/faq.jsonl --out compare.html",
    )
)
def compare(
    queries: Annotated[
        Path, typer.Option(resolve_path=True, help="one a line, or .jsonl or .parquet with a column query or text")
    ],
    version: Annotated[str, typer.Argument(metavar="VERSION", help=VERSION)] = CANDIDATE,
    against: Annotated[str, typer.Option(help="the other version")] = PRODUCTION,
    corpus: Annotated[Path | None, typer.Option(resolve_path=True, help="as for ask")] = None,
    task: Annotated[str, typer.Option(help="as for ask")] = "",
    top: Annotated[int, typer.Option(min=1, help="how many documents a query")] = 5,
    out: Annotated[Path, typer.Option(resolve_path=True, help="the page")] = Path("compare.html"),
) -> None:
    """Two versions on the same queries, side by side on a page."""
    root = enter_checkout()
    from components.base.log import quiet_libraries

    quiet_libraries(progress_bars=False)
    from components.serving.shadow import compare_versions, comparison_page

    found = compare_versions(root, version, against, queries, corpus, task, top)
    out.write_text(comparison_page(found, top), encoding="utf-8")
    print(f"{found.summary(top)}\n{out}")


@group.command(epilog=examples("foundry monitor", "foundry monitor --days 7 --novel 0.3"))
def monitor(
    days: Annotated[int, typer.Option(min=1, help="queries of so many days")] = 30,
    novel: Annotated[float, typer.Option(min=0, max=1, help="an alert: a larger share of novel queries")] = 0.2,
    drop: Annotated[float, typer.Option(min=0, max=1, help="an alert: agreement with the teacher lower by more")] = 0.1,
    name: Annotated[str, typer.Option("--name", help="registered model")] = DEFAULT_NAME,
) -> None:
    """Compare sampled production queries with those of training.

    By the production model's vectors. Prints a line a task and writes a page; exit status 1 with an alert.
    """
    root = enter_for_flows()
    from flows.fallback import call_with_server
    from flows.monitor import PAGE
    from flows.monitor import monitor as flow

    state: Any = call_with_server(lambda: flow(name=name, days=days, novel=novel, drop=drop, return_state=True))
    print(root / PAGE)
    if state.name == "Drifted":
        raise UserError(f"alert: {state.message}")
    state.result()
