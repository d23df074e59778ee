"""Cost of each stage of a run: texts, tokens, FLOPs, hours, memory, disk. The formulas are in docs/scaling.md."""

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from components.config import Config, EngineParams, HubOrigin, ModelParams
from components.contracts.schedule import Schedule
from components.contracts.tasks import Task
from components.plan.devices import Device
from components.plan.host import (
    CHARACTERS,
    VECTORS,
    evaluate_memory,
    fetch_memory,
    mine_memory,
    pairs_each,
    prepare_memory,
    process_memory,
    retrieve_memory,
    score_memory,
    select_shots_memory,
    task_characters,
)
from components.plan.memory import BYTES, NF4, WORKSPACE, RowSize, TrainingMemory, training_memory
from components.plan.shapes import Shape, shape_of
from components.plan.tokens import TaskTexts, step_tokens, training_tokens

MTEB_SIZES = Path(__file__).with_name("task_sizes.csv")  # its origin: task_sizes.md
MINED_PAIRS_PER_CPU_SECOND = 170_000  # of mine, and texts of prepare: `benchmarks.plan_stages` on an AVX-512 core
PREPARED_TEXTS_PER_CPU_SECOND = 12_000
CANDIDATE_ROW = 64  # bytes on disk that a row of candidates.parquet or teacher_scores.parquet takes, compressed
FITTED = 150  # texts that select_shots fits a classifier on: 8 of a label, at most 400
STARTER_TEXTS = 4_400  # texts of the starter benchmark, and their mean tokens
STARTER_TOKENS = 53


@dataclass(frozen=True)
class Cost:
    """One stage. FLOPs of all devices together; memory of one process, bytes; disk for outputs and caches, bytes.

    Attributes:
        gpu: memory of the model; on a CPU it is host memory, in addition to `host`.
        cards: how many devices the stage can use with these parameters.
        cpu: seconds of one core, besides the model's.
    """

    stage: str
    texts: float
    tokens: float
    flops: float
    gpu: float
    host: float
    disk: float
    cards: float = math.inf
    cpu: float = 0.0

    def hours(self, device: Device, devices: int, efficiency: float) -> float:
        """Hours of compute on `devices` of these at this share of the peak, and of one core."""
        model = self.flops / (device.flops * efficiency * min(devices, self.cards))
        return (model + self.cpu) / 3600


@dataclass(frozen=True)
class Plan:
    """The costs of all nine stages, in order, and the training memory in its parts."""

    costs: list[Cost]
    training: TrainingMemory


def make_plan(config: Config, tasks: list[TaskTexts], outputs: Path, device: Device, devices: int) -> Plan:
    """The cost of every stage for these texts. Raises UserError if a model's size is not known."""
    shapes = {name: shape_of(name, params, outputs) for name, params in config.fetch.models.items()}
    text = 4 * sum(task_characters(task) for task in tasks)
    training = _training(config, tasks, shapes["student"], device, devices)
    costs = [
        _fetch(config, tasks, shapes, text),
        _prepare(tasks, text),
        _retrieve(config, tasks, shapes, device),
        _score(config, tasks, shapes, device),
        _mine(config, tasks, device),
        _train(config, tasks, shapes["student"], training, device),
        _select_shots(config, tasks, shapes["student"], device),
        _evaluate(config, shapes, device),
        Cost("register", 0, 0, 0, 0, process_memory(device), shapes["student"].total * _width(config)),
    ]
    return Plan(costs, training)


def _width(config: Config) -> float:
    return BYTES[config.encoder.precision]


def _encoding_memory(shape: Shape, config: Config, tokens: float) -> float:
    """Weights, and the activations of one layer over one forward pass of `tokens` tokens."""
    width = _width(config)
    return shape.total * width + tokens * (6 * shape.hidden + 3 * shape.intermediate) * width + WORKSPACE


def _loading(shape: Shape, config: Config, device: Device) -> float:
    """Host memory of a model's weights while they are loaded to a GPU."""
    return shape.total * _width(config) if device.is_gpu else 0.0


def _stored_width(model: ModelParams) -> int:
    """Bytes per weight in a model's files: hub models are bf16, and so are random weights."""
    return 2 if isinstance(model.origin, HubOrigin) or model.shape else 4


def _cards(engine: EngineParams) -> float:
    """Devices that a stage in shards uses: a worker each."""
    if engine.kind == "dask" or engine.workers == "auto":
        return math.inf
    return max(1, engine.workers)


def _prepare(tasks: list[TaskTexts], text: float) -> Cost:
    texts = sum(task.documents + task.queries + task.dev for task in tasks)
    seconds = texts / PREPARED_TEXTS_PER_CPU_SECOND
    return Cost("prepare", texts, 0, 0, 0, prepare_memory(tasks), text / 2, cpu=seconds)


def _mine(config: Config, tasks: list[TaskTexts], device: Device) -> Cost:
    """Pairs that were scored; the judge, if there is one, asks about few of them, on one card."""
    queries = sum(task.queries + task.dev for task in tasks)
    drawn = _drawn_queries(config, tasks)
    pairs = sum((drawn[task.name] + task.dev) * min(pairs_each(config), task.documents) for task in tasks)
    seconds = pairs / MINED_PAIRS_PER_CPU_SECOND
    return Cost("mine", queries, 0, 0, 0, mine_memory(config, tasks, device), queries * 400, cards=1, cpu=seconds)


def _fetch(config: Config, tasks: list[TaskTexts], shapes: dict[str, Shape], text: float) -> Cost:
    """Disk: models, tables, and in the hub's own cache the raw files of its sources, compressed as the tables are."""
    models = sum(shape.total * _stored_width(config.fetch.models[name]) for name, shape in shapes.items())
    hub = {name for name, source in config.fetch.sources.items() if isinstance(source.origin, HubOrigin)}
    cached = 4 * sum(task_characters(task) for task in tasks if config.prepare.tasks[task.name].source in hub)
    sources = {name: [t for t in tasks if config.prepare.tasks[t.name].source == name] for name in config.fetch.sources}
    host = fetch_memory(list(sources.values()))
    return Cost("fetch", 0, 0, 0, 0, host, models + text / 2 + cached / 2)


def _retrieve(config: Config, tasks: list[TaskTexts], shapes: dict[str, Shape], device: Device) -> Cost:
    documents = sum(task.documents for task in tasks)
    queries = sum(task.queries + task.dev for task in tasks)
    tokens = flops = disk = gpu = loading = 0.0
    for name, teacher in config.retrieve.dense.items():
        limit = teacher.max_tokens or 512
        own = sum(
            t.documents * min(t.document_tokens, limit) + (t.queries + t.dev) * min(t.query_tokens, limit)
            for t in tasks
        )
        tokens += own
        flops += 2 * shapes[name].linear * own
        disk += 4 * shapes[name].hidden * (documents + queries) + (
            2 * shapes[name].hidden * own * teacher.token_vectors
        )
        gpu = max(gpu, _encoding_memory(shapes[name], config, config.encoder.token_budget))
        loading = max(loading, _loading(shapes[name], config, device))
    texts = len(config.retrieve.dense) * (documents + queries)
    hidden = max((shapes[name].hidden for name in config.retrieve.dense), default=0)
    host = max(retrieve_memory(config, tasks, hidden, device), process_memory(device) + loading)
    disk += queries * pairs_each(config) * CANDIDATE_ROW
    return Cost("retrieve", texts, tokens, flops, gpu, host, disk, _cards(config.retrieve.engine))


def _score(config: Config, tasks: list[TaskTexts], shapes: dict[str, Shape], device: Device) -> Cost:
    """Memory does not grow with the pairs: a block of queries is at work at a time."""
    each, drawn = pairs_each(config), _drawn_queries(config, tasks)
    own = [(drawn[task.name] + task.dev) * min(each, task.documents) + task.queries for task in tasks]
    pairs = sum(own)
    disk = 2 * pairs * CANDIDATE_ROW  # teacher_scores.parquet, and the scores in the cache
    host = score_memory(config, tasks, shapes[config.score.model].hidden, device)
    tokens = flops = gpu = loading = 0.0
    for teacher in (config.score, config.score.second):
        if teacher is None or teacher.reranker == "maxsim":
            continue
        shape, limit = shapes[teacher.model], teacher.max_tokens
        if teacher.reranker in ("dense", "sparse"):  # each text once
            read = (t.documents * min(t.document_tokens, limit) + t.queries * min(t.query_tokens, limit) for t in tasks)
        else:
            lengths = (min(t.query_tokens + t.document_tokens, limit) for t in tasks)
            read = (number * length for number, length in zip(own, lengths, strict=True))
        count = sum(read)
        tokens += count
        flops += 2 * shape.linear * count
        gpu = max(gpu, _encoding_memory(shape, config, teacher.token_budget))
        loading = max(loading, _loading(shape, config, device))
    return Cost("score", pairs, tokens, flops, gpu, host + loading, disk, _cards(config.score.engine))


def _drawn_queries(config: Config, tasks: list[TaskTexts]) -> dict[str, int]:
    """Training queries whose candidates are scored, by task: those that the schedule draws, or all."""
    if config.score.queries == "all":
        return {task.name: task.queries for task in tasks}
    kinds = {task.name: config.prepare.tasks[task.name] for task in tasks}
    about = {
        name: Task(name, params.kind, params.instruction, params.symmetric, params.weight, "", params.source)
        for name, params in kinds.items()
    }
    schedule = Schedule({task.name: task.queries for task in tasks}, about, config.train, config.seed)
    return {name: int(drawn.sum()) for name, drawn in schedule.drawn().items()}


def _train(config: Config, tasks: list[TaskTexts], shape: Shape, memory: TrainingMemory, device: Device) -> Cost:
    """4 FLOPs per parameter and token (the base is frozen); GradCache and checkpointing add a forward pass (2) each.

    The host loads the base for training; after that model is freed, it loads the base again to merge the adapter.
    """
    train = config.train
    tokens = training_tokens(config, tasks)
    each = 4 + 2 * train.gradcache + 2 * train.gradient_checkpointing
    texts = train.steps * train.batch_queries * (2 + train.negatives)
    adapter = 12 * shape.lora(train.lora.rank)
    export = shape.total * _width(config)
    disk = 3 * adapter + export
    gpu, host = memory.peak, max(adapter, memory.base, export)
    if not device.is_gpu:
        gpu, host = max(memory.peak, export), adapter
    host, cards = process_memory(device) + host, train.processes * train.nodes
    return Cost("train", texts, tokens, each * shape.linear * tokens, gpu, host, disk, cards)


def _training(config: Config, tasks: list[TaskTexts], shape: Shape, device: Device, devices: int) -> TrainingMemory:
    precision: str = config.train.precision
    if precision == "auto" and device.is_gpu:
        precision = "bf16"  # every device of GPUS supports it; this machine's hardware does not matter
    elif precision == "auto":
        import torch

        from components.model.backbone import training_precision

        precision = training_precision(precision, torch.device("cpu"))
    rows = max((batch_rows(config, task) for task in tasks), key=lambda rows: sum(row.tokens for row in rows))
    mine = rows[: max(1, math.ceil(len(rows) / devices))]
    return training_memory(shape, config, mine, precision, device.is_gpu)


def batch_rows(config: Config, task: TaskTexts) -> list[RowSize]:
    """The rows of one batch of `task`, all full; those with the longest prefix first."""
    train, (_, documents) = config.train, step_tokens(config, task)
    prefix = min(task.prefix_tokens + train.shots.max * task.shot_tokens, config.prompt.prefix_tokens)
    room = max(train.row_tokens - prefix, task.trained_query_tokens)
    share = min(train.batch_queries, train.shots.share)
    in_row = max(1, min(share, int(room // task.trained_query_tokens)))
    number = math.ceil(train.batch_queries / share) * math.ceil(share / in_row)
    tokens = int(prefix + in_row * task.trained_query_tokens)
    rows = [RowSize(tokens, int(prefix), in_row)] * number
    in_row = max(1, int(train.row_tokens // task.trained_document_tokens))
    return rows + [RowSize(train.row_tokens, sequences=in_row)] * math.ceil(documents / train.row_tokens)


def _select_shots(config: Config, tasks: list[TaskTexts], shape: Shape, device: Device) -> Cost:
    """Each strategy and number of shots embeds the dev queries again, and its shots once; documents are embedded once.

    Classification also embeds the texts that its classifier is fitted on.
    """
    params, kinds = config.select_shots, {name: task.kind for name, task in config.prepare.tasks.items()}
    tries = 1 + config.shots_tried * len(params.strategies)
    dev = {task.name: min(task.dev, params.dev_queries) for task in tasks}
    prompted = {name: number + FITTED * (kinds.get(name) == "classification") for name, number in dev.items()}
    queries = sum(prompted.values())
    shots = len(params.strategies) * config.shots_tried * (config.shots_tried + 1) / 2  # in all prompts of a task
    tokens = sum(
        tries * prompted[task.name] * task.query_tokens
        + shots * task.shot_tokens
        + (params.pool + 10 * task.dev) * task.document_tokens
        for task in tasks
    )
    gpu = _encoding_memory(shape, config, config.encoder.token_budget)
    host = max(select_shots_memory(tasks, device), process_memory(device) + _loading(shape, config, device))
    cards = _cards(params.engine)
    return Cost("select_shots", tries * queries, tokens, 2 * shape.linear * tokens, gpu, host, 0, cards)


def _evaluate(config: Config, shapes: dict[str, Shape], device: Device) -> Cost:
    """Base, trained student and teacher on the benchmark, distinct texts, shared prefixes.

    Shots are counted for the trained student, on the tasks that may get some.
    The host holds all texts and, after the weights are on the GPU, three copies of one task's vectors (while they are
    reordered).
    """
    if config.evaluate.benchmark == "starter":
        texts, tokens, shots = float(STARTER_TEXTS), float(STARTER_TEXTS * STARTER_TOKENS), 0.0
        largest, characters = texts, CHARACTERS * tokens
    else:
        sizes = pl.read_csv(MTEB_SIZES)
        texts, tokens = float(sizes["distinct"].sum()), 1e6 * float(sizes["distinct_mtok"].sum())
        few_shot = sizes.filter(pl.col("task").is_in(few_shot_tasks(config)))
        shots = 1e6 * float((few_shot["few_shot_shared_mtok"] - few_shot["distinct_mtok"]).sum())
        largest = float(sizes["distinct"].to_numpy().max())
        characters = float((sizes["texts"] * sizes["characters"]).sum())  # the column is the mean per text
    student, teacher = shapes["student"], shapes[config.evaluate.teacher]
    flops = 2 * tokens * (2 * student.linear + teacher.linear) + 2 * shots * student.linear
    gpu = _encoding_memory(student, config, config.encoder.token_budget)
    disk = 4 * texts * (2 * student.hidden + teacher.hidden)
    host = evaluate_memory(texts, characters, largest, student.hidden, device)
    host = max(host, host - VECTORS * 4 * student.hidden * largest + _loading(student, config, device))
    cards = _cards(config.evaluate.engine)
    return Cost("evaluate", 3 * texts, 3 * tokens + shots, flops, gpu, host, disk, cards)


def few_shot_tasks(config: Config) -> list[str]:
    """Benchmark tasks that may get shots: those a trained task serves, if it tries some, and those with stated ones."""
    trained = [task for task in config.prepare.tasks.values() if task.train and config.shots_tried]
    return list(dict.fromkeys([*(name for task in trained for name in task.in_domain), *config.evaluate.shots]))


def quantized_share(shape: Shape) -> float:
    """Bytes that a 4-bit base saves against bf16; shown if a GPU is too small."""
    return shape.linear * (BYTES["bf16"] - NF4)
