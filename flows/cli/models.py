"""Commands about trained models and their versions in the registry."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from components.base.errors import UserError
from components.base.short_lines import shorten_line
from components.tracking.registry import CANDIDATE, DEFAULT_NAME, PRODUCTION, split_version
from flows.cli.checkout import enter_checkout, enter_for_flows
from flows.cli.group import examples, new_group

group = new_group()
Because = Annotated[str, typer.Option("--because", help="why; goes into the audit record")]
Name = Annotated[str, typer.Option("--name", help="registered model")]
VERSION = "number or alias of a version; MODEL/VERSION for another model than embedding-foundry"


@group.command(
    epilog=examples(
        'foundry ask "is the sky blue"',
        'foundry ask "how do I reset my password" --corpus my/faq.jsonl --top 3',
        'foundry ask "is the sky blue" --task boolq --version production',
    )
)
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="any text")],
    task: Annotated[
        str, typer.Option(help="whose instruction and shots go before it; default: the first retrieval task")
    ] = "",
    corpus: Annotated[
        Path | None,
        typer.Option(
            resolve_path=True,
            help="texts one a line, or .jsonl or .parquet with a column text or document; "
            "default: the task's held-out corpus",
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="of the registry; default: the model in outputs/train")] = "",
    top: Annotated[int, typer.Option(min=1, help="how many documents")] = 5,
) -> None:
    """Print the documents nearest to a question.

    The model is the one that this checkout trained, or with --version one of the registry.
    Vectors of the corpus are kept in .cache/vectors, so the second question is fast.
    """
    root = enter_checkout()
    from components.base.log import quiet_libraries

    quiet_libraries(progress_bars=False)
    from components.serving.ask import ask as ask_model

    answer = ask_model(root, question, task, corpus, version, top)
    print(f"task    {answer.task}: {answer.instruction}")
    print(f"model   {answer.model}")
    print(f"corpus  {answer.corpus}, {answer.documents:,} documents\n")
    for rank, (score, text) in enumerate(answer.hits, start=1):
        print(f"{rank:2}  {score:.4f}  {shorten_line(text, 300)}")


@group.command(
    epilog=examples(
        "foundry runs",
        "foundry runs --last 2",
        "foundry runs 20260723-080427 20260724-020012    # these, by the beginning of their ids",
    )
)
def runs(
    run: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="run ids or beginnings; default: the newest ones")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="how many of the newest")] = 4,
) -> None:
    """Compare pipelines: recipe, data, metrics and parameters."""
    root = enter_checkout()
    from components.tracking.compare import compare_runs

    print("\n".join(compare_runs(root, run or [], last)))


@group.command(epilog=examples("foundry status"))
def status(name: Name = DEFAULT_NAME) -> None:
    """Which versions are candidate and production."""
    root = enter_checkout()
    from components.tracking.registry import find_version, registry_client
    from components.tracking.store import store_exists, tracking_uri, version_link

    if not store_exists(tracking_uri(root)):
        print(f"{PRODUCTION}: none\n{CANDIDATE}: none")
        return
    client = registry_client(root)
    for alias in (PRODUCTION, CANDIDATE):
        try:
            version = find_version(client, name, alias)
        except UserError:
            print(f"{alias}: none")
            continue
        print(f"{alias}: version {version.version}  {version_link(tracking_uri(root), name, version.version)}")
        for key in ("gate.verdict", "promoted.by", "promoted.because", "promoted.at", "promoted.replaces"):
            if key in version.tags:
                print(f"  {key}: {version.tags[key]}")


@group.command(
    epilog=examples(
        'foundry promote --because "new forum data" --ask      # the candidate; waits for a form in Prefect',
        'foundry promote 7 --because "better on our own queries" --ask --queries my/queries.txt',
    )
)
def promote(
    because: Because,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="version number or alias")] = CANDIDATE,
    name: Name = DEFAULT_NAME,
    ask: Annotated[bool, typer.Option("--ask", help="wait for approval in Prefect's UI")] = False,
    force: Annotated[bool, typer.Option("--force", help="override a hold; recorded as forced")] = False,
    queries: Annotated[str, typer.Option(help="fresh queries: a page shows it beside production, see compare")] = "",
) -> None:
    """Gate a version and make it production."""
    root = enter_for_flows()
    from components.tracking.store import tracking_uri, version_link
    from flows.fallback import prefect_server_or_temporary
    from flows.promotion import moved_or_raise, promotion

    with prefect_server_or_temporary() as visible:
        if ask and not visible:
            raise UserError("--ask needs a Prefect server to show the form: start `make ui`, then set PREFECT_API_URL")
        record = moved_or_raise(
            lambda: promotion(because=because, version=version, name=name, ask=ask, force=force, queries=queries), root
        )
    print(f"{name} version {record['version']} is in production, before: {record['replaces']}")
    print(version_link(tracking_uri(root), name, record["version"]))
    _print_warning(record)


def _print_warning(record: dict[str, Any]) -> None:
    """Print a failure after production had moved; the exit status stays 0."""
    if "warning" in record:
        print(f"warning: {record['warning']}", file=sys.stderr)


@group.command(epilog=examples('foundry rollback --because "complaints about recall"'))
def rollback(because: Because, name: Name = DEFAULT_NAME) -> None:
    """Give production back to the version before."""
    root = enter_for_flows()
    from components.tracking.store import tracking_uri, version_link
    from flows.fallback import prefect_server_or_temporary
    from flows.promotion import moved_or_raise
    from flows.promotion import rollback as flow

    with prefect_server_or_temporary():
        record = moved_or_raise(lambda: flow(because=because, name=name), root)
    print(f"{name} version {record['version']} is in production again, instead of {record['replaces']}")
    print(version_link(tracking_uri(root), name, record["version"]))
    _print_warning(record)


@group.command(
    epilog=examples(
        "foundry evaluate 3",
        "foundry evaluate 3 --again      # the same weights a second time: the gate's noise floor",
    )
)
def evaluate(
    version: Annotated[str, typer.Argument(metavar="VERSION", help=VERSION)],
    again: Annotated[bool, typer.Option("--again", help="a second time: the gate's A/A noise floor")] = False,
) -> None:
    """Evaluate a version of the registry on today's benchmark.

    Then the gate can compare it with newer ones. Its tables replace those beside the version.
    """
    enter_for_flows()
    from flows.evaluation import evaluation
    from flows.fallback import prefect_server_or_temporary

    name, which = split_version(version)
    with prefect_server_or_temporary():
        metrics = evaluation(which, name, again)
    for metric, value in metrics.items():
        print(f"{metric:50} {value:.4f}")


@group.command(
    epilog=examples(
        "foundry gate outputs/evaluate ../champion/outputs/evaluate",
        "foundry gate new/ old/ --again new-again/ --out verdict/",
    )
)
def gate(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="folder of the candidate's evaluation")],
    champion: Annotated[Path, typer.Argument(metavar="CHAMPION", help="of the champion; may be the same")],
    candidate_model: Annotated[str, typer.Option(help="its name in the tables")] = "trained",
    champion_model: Annotated[str, typer.Option(help="its name in the tables")] = "trained",
    again: Annotated[
        Path | None, typer.Option(help="the candidate evaluated again with another batch size (A/A)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write gate.json and gate.html here")] = None,
    margin: Annotated[float, typer.Option(help="points a task may drop above its noise floor")] = 0.5,
    gain: Annotated[float, typer.Option(help="points that the lower bound must exceed")] = 0.0,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
) -> None:
    """Compare two evaluation folders as a promotion does.

    Prints the verdict as JSON; exit status 0 for promote, 3 for hold. Works outside a checkout too.
    """
    from components.promotion.gate import GateParams, gate_folders
    from components.promotion.page import write_verdict

    params = GateParams(seed=seed, minimum_gain=gain / 100, regression_margin=margin / 100)
    models = (candidate_model, champion_model)
    verdict = gate_folders(candidate, champion, again=again, models=models, params=params)
    if out:
        write_verdict(verdict, out)
    print(verdict.to_json(), end="")
    sys.exit(0 if verdict.promote else 3)


@group.command(
    epilog=examples(
        "foundry lineage production                        # what the version came from",
        "foundry lineage outputs/prepare/corpus.parquet    # every run and version made from this file",
        "foundry lineage 0cc175b9c0f1b6a831c399e269772661  # the same by md5",
    )
)
def lineage(
    what: Annotated[str, typer.Argument(metavar="VERSION|MD5|FILE", help=f"{VERSION}; or an md5; or a file")],
) -> None:
    """Print what a version came from, or what a file became."""
    folder = Path.cwd()
    root = enter_checkout()
    from components.tracking.lineage import lineage as tree

    print("\n".join(tree(root, what, folder).lines()))


@group.command(
    epilog=examples(
        "foundry reproduce 7",
        "foundry reproduce 20260723-080427-1a2b3c4d    # a run under refs/runs, or any git revision",
        "foundry reproduce 7 --restore ../as-it-was    # no run: code, parameters and data as they were",
    )
)
def reproduce(
    run: Annotated[str, typer.Argument(metavar="VERSION|RUN|REVISION", help="model version, run id or git revision")],
    restore_to: Annotated[
        Path | None,
        typer.Option("--restore", metavar="FOLDER", resolve_path=True, help="bring it back here instead of rerunning"),
    ] = None,
) -> None:
    """Run what made a version again and compare every byte.

    Code, parameters and expected md5s come from its commit; exit status 3 when an output differs.
    """
    root = enter_for_flows()
    from flows.reproduce import reproduce as rerun
    from flows.reproduce import restore

    if restore_to:
        restore(root, run, restore_to)
        print(f"{run} is in {restore_to}; take it down with: git worktree remove --force {restore_to}")
        return
    compared = rerun(root, run)
    for item in compared:
        print(f"{item.path:28} {item.before}  {item.verdict}")
    if not all(item.right for item in compared):
        sys.exit(3)
