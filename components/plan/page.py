"""Markdown tables of docs/scaling.md: cost by number of GPUs and by corpus size."""

from dataclasses import replace
from pathlib import Path

from components.config import Config
from components.plan.devices import GIB, Device
from components.plan.stages import make_plan
from components.plan.tokens import TaskTexts

NUMBERS = (1, 8, 64)
CORES = 16  # of the page's machine
CORPORA = (1_000_000, 10_000_000, 100_000_000)


def scaled(tasks: list[TaskTexts], documents: int) -> list[TaskTexts]:
    """The same tasks with `documents` documents in all, and queries in proportion."""
    factor = documents / sum(task.documents for task in tasks)
    return [
        replace(
            task,
            documents=max(1, round(task.documents * factor)),
            queries=max(1, round(task.queries * factor)),
            dev=task.dev,
        )
        for task in tasks
    ]


def scaling_page(config: Config, tasks: list[TaskTexts], outputs: Path, device: Device, efficiency: float) -> str:
    """Markdown: hours per stage on 1, 8 and 64 devices; hours, host memory and disk for three corpus sizes.

    Training is given a process for every device, and the machine CORES cores.
    """
    train = config.train.model_copy(update={"processes": max(NUMBERS)})
    config = config.model_copy(update={"train": train, "threads": CORES})
    plan = make_plan(config, tasks, outputs, device, 1)
    lines = [
        f"| stage | {' | '.join(f'{n} x {device.name}, hours' for n in NUMBERS)} |",
        f"|---|{'---|' * len(NUMBERS)}",
    ]
    for cost in plan.costs:
        if cost.flops or cost.cpu:
            cells = " | ".join(f"{cost.hours(device, n, efficiency):.2f}" for n in NUMBERS)
            lines.append(f"| {cost.stage} | {cells} |")
    sums = [sum(cost.hours(device, n, efficiency) for cost in plan.costs) for n in NUMBERS]
    lines.append(f"| all | {' | '.join(f'{hours:.2f}' for hours in sums)} |")
    named = ("prepare", "retrieve", "score", "mine")
    lines += ["", "| documents | queries | prepare, h | retrieve, h | score, h | mine, h | train, h | disk GiB |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    memory = ["", f"| documents | {' | '.join(f'{name}, GiB' for name in named)} | host GiB at most, in |"]
    memory.append(f"|---|{'---|' * len(named)}---|")
    for size in CORPORA:
        own = scaled(tasks, size)
        costs = {cost.stage: cost for cost in make_plan(config, own, outputs, device, 8).costs}
        hours = [costs[stage].hours(device, 8, efficiency) for stage in (*named, "train")]
        most = max(costs.values(), key=lambda cost: cost.host)
        disk = sum(cost.disk for cost in costs.values()) / GIB
        queries = sum(task.queries for task in own)
        cells = " | ".join(f"{value:.2f}" for value in hours)
        lines.append(f"| {size:,} | {queries:,} | {cells} | {disk:,.0f} |")
        cells = " | ".join(f"{costs[name].host / GIB:,.1f}" for name in named)
        memory.append(f"| {size:,} | {cells} | {most.host / GIB:,.1f}, {most.stage} |")
    return "\n".join([*lines, *memory])
