"""Commands that plan and run the pipeline."""

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from components.base.checkout import home
from components.base.errors import UserError, as_user_error
from components.base.process import die_with_dvc, die_with_parent
from flows.cli.checkout import enter_checkout, enter_for_flows, require_git
from flows.cli.group import examples, new_group

group = new_group()
STARTER = "starter"  # the recipe that fits any machine: its plan is not printed first

Stages = Annotated[list[str] | None, typer.Argument(metavar="STAGE", help="to bring up to date; all when left out")]
Recipe = Annotated[str, typer.Option(help="a recipe: a file of recipes/, without .yaml")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one value on top of the recipe; repeatable")
]


@group.command(
    epilog=examples(
        "foundry run                                   # params.yaml as it is",
        "foundry run --recipe starter --set train.steps=50 --set mine.margin=0.9",
        "foundry run prepare                           # one stage and what it needs",
    )
)
def run(stages: Stages = None, recipe: Recipe = "", change: Set = None) -> None:
    """Run the stages that are not up to date, then print scores.

    --recipe and --set write params.yaml first; edits of your own in it are never overwritten. DVC runs the stages, in
    this checkout, one at a time. For retries, the Prefect UI or a worktree of its own: foundry pipeline.
    """
    root = enter_checkout()
    if recipe:
        from components.config.overrides import parse_overrides
        from components.config.recipes import take_recipe

        take_recipe(recipe, root, parse_overrides(change or []))
        if recipe != STARTER:
            _print_plan(root / "params.yaml", root, hub=True)
    elif change:
        raise UserError("--set needs --recipe NAME; without one, edit params.yaml")
    from components.tracking import lockfile
    from flows.at_work import only_run

    with only_run(root):
        for repair in lockfile.repair_files(root):
            print(f"warning: {repair}", file=sys.stderr)
        status = _run_dvc(root, stages or [])
    if status:
        sys.exit(status)
    if not stages:
        from components.evaluation.table import print_table

        print_table(Path("outputs") / "evaluate")


def _run_dvc(root: Path, stages: list[str]) -> int:
    """`dvc repro`, with this Python first on PATH for the stages' commands; returns its exit status.

    Ctrl-C reaches dvc itself, which ends well by its own; it ends with us as well when we are killed.
    """
    require_git(root)
    from components.tracking.dvc_run import dvc_owner

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro", *stages]
    process = subprocess.Popen(command, cwd=root, env={**os.environ, "PATH": path}, preexec_fn=die_with_parent)
    dvc = dvc_owner(root, process.pid)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = process.wait()
        _print_run(root, dvc)
        return status
    finally:
        signal.signal(signal.SIGINT, before)


def _print_run(root: Path, dvc: dict[str, Any]) -> None:
    """Where MLflow shows the run of this dvc, once it is there; nothing if no stage has run."""
    from components.tracking.dvc_run import journal_of
    from components.tracking.store import tracking_folder
    from components.tracking.upload import wait_until_uploaded
    from components.tracking.uploader import uploaded_link

    tracking = tracking_folder(root)
    identity = journal_of(tracking, dvc)
    if identity and wait_until_uploaded(tracking / identity):
        print(f"MLflow: {uploaded_link(tracking, identity)}\ncompare it with other runs: foundry runs")


@group.command(
    epilog=examples("foundry plan", "foundry plan --recipe mistral-7b --gpu H100 --gpus 8", "foundry plan --gpu cpu")
)
def plan(
    recipe: Annotated[str, typer.Option(help="of recipes/; default: params.yaml")] = "",
    gpu: Annotated[str, typer.Option(help="a card by name, or cpu; default: this machine's, else H100")] = "",
    gpus: Annotated[int, typer.Option(min=1, help="how many of them")] = 1,
    documents: Annotated[int | None, typer.Option(min=1, help="a corpus of this size, queries in proportion")] = None,
    page: Annotated[bool, typer.Option("--page", help="the tables of docs/scaling.md instead")] = False,
    hub: Annotated[bool, typer.Option("--hub", help="also check every hub repository, path and size")] = False,
    efficiency: Annotated[
        float | None,
        typer.Option(min=0.001, max=1, help="share of the peak that is reached; default: 0.45, on a CPU 0.8"),
    ] = None,
) -> None:
    """Estimate hours, memory and disk before a run starts.

    Prints a line a stage, and what does not fit, with the parameter to change; exit status 1 when something does not.
    """
    root = enter_checkout()
    from components.config.extends import FOLDER, recipe_file

    path = recipe_file(recipe, root / FOLDER) if recipe else root / "params.yaml"
    if not page:
        _print_plan(path, root, gpu, gpus, documents, efficiency, hub)
        return
    from components.plan.devices import device_named, own_device
    from components.plan.report import scaling_tables

    print(scaling_tables(path, root, device_named(gpu) if gpu else own_device(), efficiency))


def _print_plan(
    path: Path,
    root: Path,
    gpu: str = "",
    gpus: int = 1,
    documents: int | None = None,
    efficiency: float | None = None,
    hub: bool = False,
) -> None:
    """Print the estimate. Raises UserError when the run does not fit."""
    from components.plan.devices import device_named, own_device
    from components.plan.report import plan_run

    report = plan_run(path, root, device_named(gpu) if gpu else own_device(), gpus, documents, efficiency, hub)
    print(report.text)
    for line in report.tight:
        print(f"warning: {line}")
    sys.stdout.flush()  # errors follow on stderr
    if report.wrong:
        raise UserError("\n".join(f"plan: {line}" for line in report.wrong))


@group.command(epilog=examples("foundry table"))
def table() -> None:
    """Print the scores of the last evaluation.

    Base, trained and teacher per held-out task, with 95 % intervals, as at the end of foundry run.
    """
    enter_checkout()
    from components.evaluation.table import print_table

    print_table(Path("outputs") / "evaluate")


@group.command(epilog=examples("foundry stage prepare", "foundry stage train"))
def stage(name: Annotated[str, typer.Argument(metavar="STAGE", help="a stage of dvc.yaml")]) -> None:
    """Run one stage, up to date or not; dvc.yaml calls this.

    To bring a stage and what it needs up to date: foundry run STAGE.
    """
    root = enter_checkout()
    die_with_dvc()
    from flows.at_work import stage_at_work

    try:
        with stage_at_work(root):
            _run_stage(name, root)
    except Exception as problem:
        known = as_user_error(problem)
        if known is None:
            raise
        raise UserError("\n".join(f"{name}: {line}" for line in str(known).splitlines())) from None


def _run_stage(name: str, root: Path) -> None:
    """`local_files` runs every time, so without what other stages share: the MLflow run and the folder for scratch.

    It runs first in every kind of run, also in one that has nothing to do: there left journals are uploaded.
    """
    if name == "local_files":
        from components.data.local_files import update_list
        from components.tracking.upload import resume_uploads

        resume_uploads(home(root))  # a worktree may be gone before its uploader is ready
        update_list(root)
        return
    from components.stage.run import run_stage

    if name != "evaluate":
        run_stage(name, root)
        return
    from components.promotion.verdict import publish_verdict

    run_stage(name, root, [publish_verdict])


@group.command(epilog=examples("foundry join train"))
def join(name: Annotated[str, typer.Argument(metavar="STAGE", help="train, the stage of several machines")]) -> None:
    """Train together with another machine.

    That machine runs the stage with train.nodes above 1. Run this in the same checkout on a shared disk. It waits until
    the stage starts, and ends with it.
    """
    root = enter_checkout()
    die_with_parent()
    from components.base.log import set_up_logging
    from components.stage.nodes import join as join_stage

    if name != "train":
        raise UserError(f"join: {name}: only train runs on several machines so; the others use engine.kind: dask")
    set_up_logging("join", root / ".cache" / "logs" / f"join.{socket.gethostname()}.log", progress_bars=False)
    join_stage(name, root)


@group.command(
    epilog=examples(
        "foundry pipeline",
        "foundry pipeline train                        # one stage and what it needs",
        "foundry pipeline --isolated --recipe starter --set train.steps=50",
    )
)
def pipeline(
    stages: Stages = None,
    isolated: Annotated[bool, typer.Option("--isolated", help="in a worktree of HEAD, beside your files")] = False,
    recipe: Annotated[str, typer.Option(help="a file of recipes/, without .yaml (with --isolated)")] = "",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="repeatable (with --isolated)")
    ] = None,
) -> None:
    """Run the pipeline as a Prefect flow.

    Branches run side by side, transient failures are tried again, and the run has a page in the UI and one MLflow run
    above those of its stages. It is what the deployments of prefect.yaml run. Without a server (foundry ui) a temporary
    one takes its place.
    """
    require_git(enter_for_flows())
    from components.config.overrides import parse_overrides
    from flows.fallback import call_with_server
    from flows.pipeline import pipeline as flow
    from flows.processes import StoppedError

    parameters = parse_overrides(change or [])
    try:
        call = partial(flow, targets=stages or [], isolated=isolated, recipe=recipe, parameters=parameters)
        results: Any = call_with_server(call)
    except StoppedError as problem:
        raise UserError(str(problem)) from None
    print_outcomes(results)


@group.command(epilog=examples("foundry remine"))
def remine() -> None:
    """Train again with the production model as a teacher.

    Its hits become candidates to mine hard negatives from. Runs in a worktree of HEAD, as a Prefect flow.
    """
    require_git(enter_for_flows())
    from flows.fallback import call_with_server
    from flows.remine import remine as flow

    results: Any = call_with_server(flow)
    print_outcomes(results)


@group.command(epilog=examples("foundry update", "foundry update --replay 0.5 --steps 40"))
def update(
    steps: Annotated[int, typer.Option(min=0, help="of training; 0: the recipe's, in proportion to the pairs")] = 0,
    replay: Annotated[float, typer.Option(min=0, help="old pairs trained on for each new one")] = 1.0,
    weight: Annotated[float, typer.Option(min=0.01, max=1, help="share of the new adapter in the merged one")] = 0.5,
) -> None:
    """Train what is new since production into a new candidate.

    A light adapter on new pairs and a sample of old ones is merged with production's. Nothing new: nothing runs.
    """
    require_git(enter_for_flows())
    from flows.fallback import call_with_server
    from flows.update import update as flow

    results: Any = call_with_server(partial(flow, steps=steps, replay=replay, weight=weight))
    print_outcomes(results)
    if not results:
        print("nothing is new since the production model")


def print_outcomes(results: dict[str, str]) -> None:
    """A line a stage: what the flow did with it."""
    for name, how in results.items():
        print(f"{name:20} {how}")
