"""Parameters of `train`: the loss, the adapter, the batches and the processes."""

from typing import Literal

from pydantic import Field, model_validator

from components.config.objectives import ObjectivesParams
from components.config.schedule import ScheduleParams
from components.config.types import Count, Fraction, NonNegative, Params, Positive, PositiveFloat, PositiveFraction


class LoraParams(Params):
    """The adapter: LoRA on all seven projections of every layer."""

    rank: Positive = Field(default=16, description="rank of the update of each projection")
    alpha: Positive = Field(default=32, description="the update is scaled by alpha / rank")
    dropout: Fraction = Field(default=0.0, description="share of the adapter's inputs set to 0 while training")


class InBatchParams(Params):
    """KL from a dense teacher's distribution over all documents of the batch to the student's."""

    teacher: str = Field(description="one of retrieve.keep_vectors")
    weight: NonNegative = Field(default=1.0, description="weight of this term in the loss")
    temperature: PositiveFloat = Field(default=0.05, description="of the teacher's cosines")


class DistillationParams(Params):
    """KL from the teacher's distribution over a query's own group (positive + hard negatives) to the student's."""

    weight: NonNegative = Field(default=1.0, description="weight of this term in the loss; 0 = off")
    teacher_temperature: PositiveFloat = Field(default=1.0, description="of the teacher's scores")
    margin_mse_weight: NonNegative = Field(
        default=0.0, description="weight of MarginMSE: squared error of score differences; 0 = off"
    )
    in_batch: InBatchParams | None = Field(default=None, description="null: no soft labels over the whole batch")


class GuideParams(Params):
    """Negatives that a dense teacher finds as relevant as the positive are masked (GISTEmbed, arXiv 2402.16829)."""

    teacher: str = Field(description="one of retrieve.keep_vectors")
    margin: NonNegative = Field(default=0.0, description="mask from the positive's cosine minus this on")


class ShotDrawParams(Params):
    """Few-shot prefixes in training: the number of shots is drawn again for every `share` queries."""

    max: Count = Field(default=0, description="most shots in a prefix; 0 = zero-shot training")
    rate: PositiveFraction | None = Field(
        default=None,
        description="share of the prefixes that have shots, 1 to max, equally likely; null: 0 to max, equally likely",
    )
    share: Positive = Field(default=16, description="queries that share one prefix, which is computed once")

    @model_validator(mode="after")
    def _a_rate_needs_shots(self) -> "ShotDrawParams":
        if self.rate is not None and self.max == 0:
            raise ValueError("rate has no effect with max: 0; set max above 0, or rate: null")
        return self

    @property
    def chances(self) -> list[float]:
        """The probability of each number of shots, from 0 to max."""
        if self.rate is None:
            return [1 / (self.max + 1)] * (self.max + 1)
        return [1 - self.rate, *[self.rate / self.max] * self.max]


class DevParams(Params):
    """nDCG@10 on dev queries while training."""

    every: Count = Field(default=0, description="steps between two checks, with one at the end; 0 = never")
    queries: Positive = Field(default=64, description="dev queries of each check")
    documents: Positive = Field(default=256, description="documents that they are ranked over")
    patience: Count = Field(default=0, description="stop after this many checks without a better dev score; 0 = never")


class TrainParams(ScheduleParams):
    """Contrastive training of a LoRA adapter with hard negatives and soft labels; docs/recipe.md has the formulas."""

    negatives: Count = Field(description="hard negatives per query and step, drawn at each step from the mined ones")
    negative_sampling: Literal["uniform", "teacher_score"] = Field(
        default="uniform",
        description="teacher_score: with probability softmax(score / distillation.teacher_temperature)",
    )
    learning_rate: PositiveFloat = Field(description="peak learning rate, reached after warmup_steps")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="linear", description="learning rate after the warm-up: kept, or lowered to 0 at the last step"
    )
    warmup_steps: Count = Field(default=0, description="steps in which the learning rate rises from 0")
    weight_decay: NonNegative = Field(default=0.0, description="AdamW's")
    clip_norm: PositiveFloat = Field(default=1.0, description="gradients of a larger norm are scaled down to this")
    temperature: PositiveFloat = Field(default=0.02, description="the student's cosines are divided by this")
    false_negative_margin: float | None = Field(
        default=0.1,
        description="negatives scored above the positive's cosine plus this are masked (Qwen3-Embedding); null = off",
    )
    guide: GuideParams | None = Field(default=None, description="null: no guide model masks negatives")
    multi_positive: bool = Field(
        default=False, description="every document of the batch known to be relevant counts as a positive (SupCon)"
    )
    query_negatives: bool = Field(
        default=False, description="the batch's other queries are negatives of a query too (Qwen3-Embedding, GTE)"
    )
    document_negatives: bool = Field(
        default=False,
        description="the batch's documents are negatives of a query's positive too (Qwen3-Embedding, GTE)",
    )
    distillation: DistillationParams = DistillationParams()
    objectives: ObjectivesParams = ObjectivesParams()
    matryoshka: list[Positive] = Field(default=[], description="also train these leading dimensions")
    lora: LoraParams = LoraParams()
    init_adapter: str | None = Field(
        default=None, description="continue from this adapter of fetch.models (format: adapter); null: a new one"
    )
    replay: NonNegative | None = Field(
        default=None,
        description="with init_adapter: train on pairs that it has not seen, and on this many times as many that it "
        "has (foundry update); null: on all",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="of the frozen base; auto: bf16 on a GPU that has it or a CPU with AMX, else fp32",
    )
    quantization: Literal["none", "4bit"] = Field(
        default="none", description="4bit: the frozen base in NF4 (QLoRA), on a GPU"
    )
    distributed: Literal["ddp", "fsdp2"] = Field(
        default="ddp", description="under torchrun: every process holds the frozen base, or a share of it (fsdp2)"
    )
    shots: ShotDrawParams = ShotDrawParams()
    query_tokens: Positive | None = Field(
        default=None, description="cut to this while training, where every token costs; prompt.query_tokens when empty"
    )
    document_tokens: Positive | None = Field(default=None, description="likewise; prompt.document_tokens when empty")
    row_tokens: Positive = Field(default=1024, description="tokens in one packed row")
    gradcache: bool = Field(default=False, description="two passes: memory of one row for any size of batch")
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations again in the backward pass: less memory, more time"
    )
    checkpoint_every: Positive = Field(default=50, description="steps between two checkpoints: the unit of resuming")
    processes: Positive = Field(default=1, description="of this machine that train together, one a GPU (torchrun)")
    nodes: Positive = Field(
        default=1,
        description="machines that train together, each with `processes`; the others run foundry join train",
    )
    rendezvous: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,5}$",
        description="HOST:PORT of the first machine as the others reach it; null: the address of its name, port 29400",
    )
    hang_seconds: Positive = Field(
        default=3600,
        description="a process that finishes no row, step or task of a dev check in this time is ended, and the line "
        "where it hung is logged; longer than loading the data and the model, and the export take",
    )
    restarts: Count = Field(default=3, description="when one of several processes dies, all start again this often")
    dev: DevParams = DevParams()

    @model_validator(mode="after")
    def _there_are_adapters_to_merge(self) -> "TrainParams":
        merge = self.merge
        if merge is None:
            return self
        if merge.of == "init_adapter" and self.init_adapter is None:
            raise ValueError("merge.of: init_adapter needs init_adapter, the adapter to continue from")
        if merge.of == "bags" and self.dev.patience:
            raise ValueError("merge.of: bags and dev.patience: an early stop would leave bags out; remove one")
        written = -(-self.steps // self.checkpoint_every)
        most = {"checkpoints": written, "bags": self.steps}.get(merge.of)
        if most is not None and merge.number is not None and merge.number > most:
            raise ValueError(f"merge.number: {merge.number} is over {most}, the {merge.of} of steps: {self.steps}")
        return self

    @model_validator(mode="after")
    def _replay_goes_on_from_an_adapter(self) -> "TrainParams":
        if self.replay is not None and self.init_adapter is None:
            raise ValueError("replay has no effect without init_adapter; set it, or remove replay")
        return self

    @model_validator(mode="after")
    def _one_machine_meets_no_other(self) -> "TrainParams":
        if self.rendezvous is not None and self.nodes == 1:
            raise ValueError("rendezvous has no effect with nodes: 1; set nodes above 1, or remove it")
        return self

    @model_validator(mode="after")
    def _four_bits_are_not_sharded(self) -> "TrainParams":
        if self.quantization == "4bit" and self.distributed == "fsdp2":
            raise ValueError("quantization: 4bit is not sharded by distributed: fsdp2; set distributed: ddp")
        return self
