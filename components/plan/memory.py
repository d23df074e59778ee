"""Peak memory of one training step, from tensor shapes. The formulas are in docs/scaling.md.

Static: the frozen base, the adapter and its AdamW state. Dynamic: the activations that the forward pass saves for the
backward pass, for the rows whose graph is alive: all rows of a batch, or one with GradCache.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.config import Config, TrainParams
from components.plan.shapes import Shape

BYTES = {"fp32": 4.0, "bf16": 2.0}
NF4 = 0.5 + 4 / 256 * 1.01  # 4 bits, 8-bit scales for blocks of 64, fp32 scales for 256 of those (QLoRA, section 3)
ADAPTER = 4 + 4 + 8  # fp32 weight, its gradient, AdamW's two moments
ATTENTION_PROJECTIONS, MLP_PROJECTIONS = 4, 3
BLOCK_PADDING = 1.1  # components/model/packing.py allows up to a fifth of padding per block
WORKSPACE = 0.6 * 2**30  # of a GPU: CUDA context, cuBLAS and FlexAttention workspaces, fragmentation


@dataclass(frozen=True)
class RowSize:
    """A packed row: tokens in total, tokens of the prefix, and number of sequences."""

    tokens: int
    prefix: int = 0
    sequences: int = 1


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes."""

    base: float
    adapter: float
    activations: float
    vectors: float
    workspace: float

    @property
    def static(self) -> float:
        """Memory between steps."""
        return self.base + self.adapter

    @property
    def peak(self) -> float:
        """Peak memory within a step."""
        return self.static + self.activations + self.vectors + self.workspace


def training_memory(shape: Shape, config: Config, rows: Sequence[RowSize], precision: str, gpu: bool) -> TrainingMemory:
    """Peak memory of one step in one process.

    Args:
        rows: the packed rows of the batch that this process encodes.
        precision: fp32 or bf16, of the frozen base.
    """
    train = config.train
    vocabulary = shape.vocabulary + (3 if config.prompt.template == "special" else 0)
    width = BYTES[precision]
    linear = NF4 if train.quantization == "4bit" else width
    base = (vocabulary * shape.hidden + shape.ties) * width + shape.linear * linear
    adapter = shape.lora(train.lora.rank) * ADAPTER
    kept = [row_activations(shape, row, width, train, gpu) for row in rows]
    alive = max(kept) if train.gradcache else sum(kept)  # graphs that live until the loss is known
    again = max(row.tokens for row in rows) * 3 * shape.intermediate * width  # gradients within one layer
    if train.gradient_checkpointing:  # one layer at a time is recomputed
        again += max(layer_activations(shape, row, width, train, gpu) for row in rows)
    batch = train.batch_queries * (2 + train.negatives)
    return TrainingMemory(
        base=base,
        adapter=adapter,
        activations=alive + again,
        vectors=2 * batch * shape.hidden * 4,
        workspace=WORKSPACE if gpu else 0.0,
    )


def row_activations(shape: Shape, row: RowSize, width: float, train: TrainParams, gpu: bool) -> float:
    """Bytes that one row's forward pass saves for the backward pass: every layer, the embeddings and the last norm.

    With gradient checkpointing a layer saves its input only. Without it, the last layer's MLP runs at few tokens
    (components/model/last_layer.py) and is not counted.
    """
    ends = row.tokens * shape.hidden * (width + 4)
    if train.gradient_checkpointing:
        return shape.layers * row.tokens * shape.hidden * width + ends
    layer = layer_activations(shape, row, width, train, gpu)
    return shape.layers * layer - row.tokens * mlp_activations(shape, width, train) + ends


def layer_activations(shape: Shape, row: RowSize, width: float, train: TrainParams, gpu: bool) -> float:
    """Bytes that one layer saves: the norms' inputs in fp32, the projections' inputs, LoRA's low ranks, attention, MLP.

    A frozen projection saves nothing; its LoRA saves its input (one for q, k, v), the `rank` values after A and, in
    bf16, copies of A and B in bf16. Quantized layers use peft's forward: one input for each of q, k and v.
    """
    q = shape.heads * shape.head_dim
    inputs = (3 if train.quantization == "4bit" else 1) * shape.hidden + q
    masks = (3 * shape.hidden + q) * bool(train.lora.dropout)
    own = (inputs + masks + ATTENTION_PROJECTIONS * train.lora.rank) * width + 2 * shape.hidden * 4
    cast = shape.lora(train.lora.rank) / shape.layers * width if width == BYTES["bf16"] else 0.0
    mlp = mlp_activations(shape, width, train)
    return row.tokens * (own + mlp) + cast + attention_activations(shape, row, width, gpu)


def mlp_activations(shape: Shape, width: float, train: TrainParams) -> float:
    """Bytes per token that the MLP saves: input, gate, up, silu(gate), their product, LoRA's low ranks and masks."""
    inputs = (2 if train.quantization == "4bit" else 1) * shape.hidden + shape.intermediate
    masks = (2 * shape.hidden + shape.intermediate) * bool(train.lora.dropout)
    return (inputs + masks + 3 * shape.intermediate + MLP_PROJECTIONS * train.lora.rank) * width


def attention_activations(shape: Shape, row: RowSize, width: float, gpu: bool) -> float:
    """Bytes that one layer's attention saves.

    GPU: q, k, v and the output. CPU: the heads of k and v are repeated. In fp32 the same four are saved; with a prefix
    the output is o_proj's input (counted there), without one they are in padded blocks. In bf16 attention is explicit:
    the probabilities in fp32 and in bf16, and the prefix's k and v once per sequence.
    """
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if gpu:
        return (2 * q + 2 * kv) * row.tokens * width
    texts = BLOCK_PADDING * (row.tokens - row.prefix)
    if width == BYTES["fp32"]:
        return width * ((3 * q + shape.heads) * row.tokens if row.prefix else (4 * q + shape.heads) * texts)
    length = texts / row.sequences
    scores = texts * (row.prefix + length) + row.prefix**2
    return 3 * q * (texts + row.prefix) * width + 2 * q * row.prefix * row.sequences * width + 6 * shape.heads * scores
