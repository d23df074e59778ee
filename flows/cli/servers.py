"""Commands about servers and what runs leave behind."""

import sys
from typing import Annotated

import typer

from components.base.errors import UserError
from flows.cli.checkout import enter_checkout, enter_for_flows
from flows.cli.group import examples, new_group

group = new_group()


@group.command(epilog=examples("foundry ui", "foundry ui --mlflow-port 5001 --prefect-port 4201 --no-worker"))
def ui(
    mlflow_port: Annotated[int, typer.Option(help="port of MLflow")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="port of Prefect")] = 4200,
    with_worker: Annotated[bool, typer.Option("--worker/--no-worker", help="run scheduled flows too")] = True,
) -> None:
    """Serve MLflow and Prefect on loopback until Ctrl-C."""
    root = enter_for_flows()
    from flows.servers import serve

    serve(root, mlflow_port, prefect_port, with_worker)


@group.command(epilog=examples("PREFECT_API_URL=http://127.0.0.1:4200/api foundry setup"))
def setup() -> None:
    """Prepare the Prefect server of PREFECT_API_URL.

    Makes the work pool, the heartbeat automation and the deployments of prefect.yaml. Safe to repeat; foundry ui does
    so itself.
    """
    root = enter_for_flows()
    from flows.setup import set_up

    print("\n".join(set_up(root)))


@group.command(epilog=examples("foundry doctor", "foundry doctor --look"))
def doctor(look: Annotated[bool, typer.Option("--look", help="only say what is wrong")] = False) -> None:
    """Find what crashes left behind, and repair it.

    With --look nothing is repaired. Exit status 3 when something is left that it did not repair.
    """
    root = enter_for_flows()
    from flows.doctor import repair_all

    sys.exit(3 if repair_all(root, look, print) else 0)


@group.command(epilog=examples("foundry upload"))
def upload() -> None:
    """Send waiting runs to MLflow.

    Runs wait in .cache/tracking while MLflow does not answer; the next stage that runs sends them too.
    """
    root = enter_checkout()
    from components.tracking.upload import upload_all

    failed = upload_all(root)
    if failed:
        raise UserError(f"{failed} runs could not be uploaded; see above")
