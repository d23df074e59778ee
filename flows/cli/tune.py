"""Command that chooses training parameters on dev queries."""

from typing import Annotated

import typer

from flows.cli.checkout import enter_checkout
from flows.cli.group import examples, new_group

group = new_group()


@group.command(
    epilog=examples(
        "foundry tune                                  # train.learning_rate, around that of params.yaml",
        "foundry tune --key train.learning_rate=1e-4:5e-3:log --trials 8",
        "foundry tune --key train.temperature=0.01,0.02,0.05 --steps 60",
    )
)
def tune(
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY=VALUES", help="of train: LOW:HIGH, LOW:HIGH:log or A,B,C; repeatable"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="how many, those of an earlier call included")] = 8,
    steps: Annotated[int, typer.Option(min=4, help="of training in a trial")] = 40,
) -> None:
    """Choose training parameters by short runs on dev queries.

    The first trial has the values of params.yaml, where they are in range. Trials that fall behind are stopped early;
    collapsing vectors are reported. Stopped with Ctrl-C, the same command continues. Test data is not read. Needs
    outputs/mine: foundry run mine.
    """
    root = enter_checkout()
    from components.base.log import set_up_logging
    from components.base.machine import limit_threads
    from components.config import load_config
    from flows.at_work import stage_at_work
    from flows.tune import Search, best_values, parse_search, table
    from flows.tune import tune as search_values

    config = load_config(root / "params.yaml")
    rate = config.train.learning_rate
    searches = [parse_search(text) for text in key or []] or [Search("train.learning_rate", rate / 8, rate * 4, True)]
    limit_threads(config.threads)
    set_up_logging("tune", root / ".cache" / "logs" / "tune.log")
    with stage_at_work(root):
        study = search_values(root, searches, trials, steps)
    print("\n".join(table(study)))
    taken = " ".join(f"--set {name}={value}" for name, value in best_values(study).items())
    print(f"\nbest on dev: foundry run --recipe NAME {taken}")
