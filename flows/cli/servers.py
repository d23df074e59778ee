"""Commands about servers and what runs leave behind."""

import sys
from typing import Annotated

import typer

from components.base.errors import UserError
from components.tracking.registry import DEFAULT_NAME, PRODUCTION
from flows.cli.checkout import enter_checkout, enter_for_flows
from flows.cli.group import examples, new_group

group = new_group()
HOST = "127.0.0.1"


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


@group.command(
    epilog=examples(
        "foundry serve                                  # the production version, on 127.0.0.1:8080",
        "foundry serve --version 7 --port 8081",
        "foundry serve --trained                        # what this checkout has trained",
        """curl 127.0.0.1:8080/v1/embeddings -d '{"input": "is it", "side": "query", "task": "boolq"}'""",
    )
)
def serve(
    version: Annotated[str, typer.Option(help="[MODEL/]VERSION of the registry, by number or alias")] = PRODUCTION,
    trained: Annotated[bool, typer.Option("--trained", help="the model in outputs/train instead")] = False,
    host: Annotated[str, typer.Option(help="there is no authentication: put a proxy before another address")] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="to listen on")] = 8080,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    token_budget: Annotated[int, typer.Option(min=1, help="tokens of a batch, its prompt counted once")] = 8192,
    queue_tokens: Annotated[int, typer.Option(min=1, help="tokens that may wait; more is answered with 503")] = 500_000,
    sample: Annotated[
        float, typer.Option(min=0, max=1, help="share of the queries kept, redacted, for foundry monitor; 0: none")
    ] = 0.0,
) -> None:
    """Serve a model behind OpenAI's /v1/embeddings.

    Also /v1/models and /health. Requests that come in while the model computes are embedded together, behind one
    prompt, up to the token budget.
    """
    root = enter_checkout()
    from components.base.log import quiet_libraries

    quiet_libraries(progress_bars=False)
    from components.serving.ask import registered_model, trained_model
    from components.serving.server import check_port, load_model, run_server
    from components.tracking.registry import split_version

    check_port(host, port)
    model = trained_model(root / "outputs") if trained else registered_model(root, version)
    name = DEFAULT_NAME if trained else split_version(version)[0]
    served = load_model(model, name, device, token_budget, queue_tokens)
    if sample:
        from components.serving.sample import FOLDER, QuerySample

        served.sample = QuerySample(root / FOLDER, sample)
    print(f"{model.name}: http://{host}:{port}/v1/embeddings, model {name}; Ctrl-C ends it", flush=True)
    run_server(served, host, port)


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


@group.command(
    epilog=examples("foundry upload", "foundry upload --unseen   # after docker rm of a container with a run")
)
def upload(
    unseen: Annotated[
        bool,
        typer.Option("--unseen", help="also end runs of processes that cannot be seen from here: you know them dead"),
    ] = False,
) -> None:
    """Send waiting runs to MLflow.

    Runs wait in .cache/tracking while MLflow does not answer; the next stage that runs sends them too. With --unseen no
    run or stage may be at work in the checkout, in any container that shares it.
    """
    root = enter_checkout()
    from components.tracking.upload import upload_all
    from flows.at_work import nobody_at_work

    if unseen:
        with nobody_at_work(root) as idle:
            if not idle:
                raise UserError(
                    f"a run or stage is at work in {root}; wait until it ends, then: foundry upload --unseen"
                )
            failed = upload_all(root, end_unseen=True)
    else:
        failed = upload_all(root)
    if failed:
        raise UserError(f"{failed} runs could not be uploaded; see above")
