"""Cost estimate of a run (`foundry plan`): one line per stage, and the resources that are too small.

Findings: too little GPU memory, host memory or disk, or (with the hub check) what the hub does not give.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from psutil import virtual_memory

from components.base.threads import worker_count
from components.config import Config, load_config
from components.plan.devices import GIB, Device, efficiency_of
from components.plan.hub import HubReport, check_hub
from components.plan.page import scaled, scaling_page
from components.plan.shapes import shape_of
from components.plan.stages import MTEB_SIZES, Plan, few_shot_tasks, make_plan, quantized_share
from components.plan.tokens import TaskTexts, counted_texts, estimated_texts
from components.training.card import NO_BF16, needs_bf16

TIGHT = 0.9  # share of the memory above which the plan warns
OF_TEXTS = ("fetch", "prepare", "retrieve", "score", "mine")  # stages whose host memory grows with the texts
LARGER = "the model's weights pass through it: run it on a larger machine"
FEWER_TEXTS = "lower prepare.tasks.<task>.train or fetch.sources.<source>.max_rows, or run it on a larger machine"


def own_outputs(config: Config, root: Path) -> Path:
    """outputs/ if prepare has run for these tasks; else a folder that does not exist, so that nothing is counted."""
    from components.contracts.tasks import read_tasks

    tasks = root / "outputs" / "prepare" / "tasks.yaml"
    trained = {name for name, task in config.prepare.tasks.items() if task.train}
    if tasks.is_file() and set(read_tasks(tasks)) == trained:
        return root / "outputs"
    return root / "outputs" / "of-another-run"


def texts_of(config: Config, outputs: Path) -> tuple[list[TaskTexts], str]:
    """The run's texts, and a line that says whether they were counted or estimated."""
    student = outputs / "fetch" / "models" / "student"
    if (outputs / "prepare" / "corpus.parquet").is_file() and student.is_dir():
        from components.model.backbone import load_tokenizer
        from components.model.prompt import Prompt

        prompt = Prompt(load_tokenizer(student, config.prompt), config.prompt)
        return counted_texts(outputs, prompt, config.training_prompt), f"texts counted in {outputs / 'prepare'}"
    return estimated_texts(config), "texts estimated from the recipe's row caps (run prepare to have them counted)"


def findings(
    config: Config, plan: Plan, device: Device, outputs: Path, free: float, host: float
) -> tuple[list[str], list[str]]:
    """(resources that are too small, resources that are tight), each with the parameter to change.

    Args:
        free, host: bytes of free disk and of memory of this machine.
    """
    wrong, tight = [], []
    if needs_bf16(config) and not device.has_bf16:
        wrong.append(f"train: {device.name} does not multiply bf16; {NO_BF16}")
    for cost in plan.costs:
        if cost.host > host:
            need = f"{cost.stage}: needs {cost.host / GIB:.0f} GiB of host memory, this machine has {host / GIB:.0f}; "
            tight.append(need + (FEWER_TEXTS if cost.stage in OF_TEXTS else LARGER))
    for cost in plan.costs:
        if not device.is_gpu or not cost.gpu:
            continue
        line = f"{cost.stage}: needs {cost.gpu / GIB:.1f} GiB, {device.name} has {device.memory / GIB:.1f}; "
        if cost.gpu > device.memory:
            wrong.append(line + _cure(config, cost.stage, outputs))
        elif cost.gpu > TIGHT * device.memory:
            tight.append(line + "it may not survive fragmentation")
    if not device.is_gpu and plan.training.peak > device.memory:
        need = f"train: needs {plan.training.peak / GIB:.1f} GiB of memory, there are {device.memory / GIB:.1f}; "
        wrong.append(need + _cure(config, "train", outputs))
    disk = sum(cost.disk for cost in plan.costs)
    if disk > free:
        wrong.append(
            f"disk: outputs and caches need {disk / GIB:.0f} GiB, {free / GIB:.0f} are free; free some, or lower "
            "retrieve.depth, prepare.tasks.<task>.train or fetch.sources.<source>.max_rows"
        )
    return wrong, tight


def _cure(config: Config, stage: str, outputs: Path) -> str:
    if stage != "train":
        return "lower encoder.token_budget (score.token_budget for score), or take a larger GPU"
    train = config.train
    if not train.gradient_checkpointing:
        return "set train.gradient_checkpointing: true"
    if not train.gradcache:
        return "set train.gradcache: true"
    if train.quantization == "none":
        saved = quantized_share(shape_of("student", config.fetch.models["student"], outputs)) / GIB
        return f"set train.quantization: 4bit, which saves {saved:.1f} GiB, or take a larger GPU"
    return "lower train.row_tokens or train.lora.rank, or take a larger GPU"


KNOWN_BY = (
    "memory and disk: counted from data structures and tensor shapes. Compared with runs: fetch, prepare, retrieve,\n"
    "score, mine, select_shots, evaluate (benchmarks.plan_stages), train (benchmarks.plan); not compared: register\n"
    "hours: FLOPs counted, at an assumed share of the peak; prepare and mine by the measured rate of one core. Not\n"
    "counted: downloads, BM25, the benchmark's own scoring"
)


def table(plan: Plan, device: Device, devices: int, efficiency: float) -> str:
    """The plan as Markdown. Cards: how many devices the stage uses with these parameters; 0: none."""
    memory = "GPU GiB" if device.is_gpu else "model GiB"
    lines = [
        f"| stage | texts | Mtokens | PFLOP | cards | hours | {memory} | host GiB | disk GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    hours = disk = 0.0
    for cost in plan.costs:
        own = cost.hours(device, devices, efficiency)
        cards = min(devices, cost.cards) if cost.flops or cost.cards == 1 else 0
        hours, disk = hours + own, disk + cost.disk
        lines.append(
            f"| {cost.stage} | {cost.texts:,.0f} | {cost.tokens / 1e6:,.1f} | {cost.flops / 1e15:,.3g} | {cards:.0f} "
            f"| {own:.2f} | {cost.gpu / GIB:.1f} | {cost.host / GIB:.1f} | {cost.disk / GIB:.2f} |"
        )
    return "\n".join([*lines, f"| all | | | | | {hours:.2f} | | | {disk / GIB:.2f} |"])


@dataclass(frozen=True)
class Report:
    """The estimate as text, and one line per resource that is too small or tight."""

    text: str
    wrong: list[str]
    tight: list[str]


def plan_run(
    path: Path, root: Path, device: Device, devices: int, documents: int | None, efficiency: float | None, hub: bool
) -> Report:
    """The estimate for the parameter file `path` in the checkout `root`.

    Args:
        documents: plan for a corpus of this size, queries in proportion.
        efficiency: share of the device's peak that is reached; measured or counted when None.
        hub: also check that the hub gives every file of the recipe.

    Raises:
        UserError: the parameters are wrong.
    """
    config = load_config(path)
    outputs = own_outputs(config, root)
    tasks, source = texts_of(config, outputs)
    if documents:
        tasks = scaled(tasks, documents)
    plan = make_plan(config, tasks, outputs, device, devices)
    cores = worker_count(config.threads)
    reached = efficiency_of(device, root, efficiency)
    parts = {name: value / GIB for name, value in vars(plan.training).items() if value}
    lines = [
        f"{path.name} on {devices} x {device.name} ({device.flops / 1e12:.3g} TFLOP/s, {reached.share:.0%} of it; "
        f"{reached.source}), {cores} cores",
        f"{source}\n\n{table(plan, device, devices, reached.share)}\n",
        KNOWN_BY,
        shots_line(config),
        "training memory, GiB: " + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()),
    ]
    wrong, tight = findings(config, plan, device, outputs, shutil.disk_usage(root).free, virtual_memory().total)
    asked = check_hub(config) if hub else HubReport("", [])
    if asked.table:
        lines.append(f"\n{asked.table}\n")
    return Report("\n".join(lines), [*wrong, *asked.problems], tight)


def shots_line(config: Config) -> str:
    """How many tasks of the benchmark the shots can reach."""
    if config.evaluate.benchmark == "starter":
        tasks = [name for name, task in config.prepare.tasks.items() if task.test]
        reached = [name for name in tasks if config.shots_tried and config.prepare.tasks[name].train]
    else:
        tasks = pl.read_csv(MTEB_SIZES)["task"].to_list()
        reached = [name for name in tasks if name in few_shot_tasks(config)]
    return f"shots: 0 to {config.shots_tried}; they may reach {len(reached)} of {len(tasks)} benchmark tasks"


def scaling_tables(path: Path, root: Path, device: Device, efficiency: float | None) -> str:
    """The tables of docs/scaling.md for a parameter file. Raises UserError like `plan_run`."""
    config = load_config(path)
    outputs = own_outputs(config, root)
    tasks, _ = texts_of(config, outputs)
    return scaling_page(config, tasks, outputs, device, efficiency_of(device, root, efficiency).share)
