"""Peak memory of training one step, from shapes alone. docs/scaling.md has the formulas in words.

Static: the frozen base, the adapter and what AdamW keeps of it. Dynamic: the tensors that the forward pass keeps for
the backward pass of the rows whose graph is alive: all rows of a batch, or one with GradCache.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from components.config import Config
from components.plan.shapes import Shape

BYTES = {"fp32": 4.0, "bf16": 2.0}
NF4 = 0.5 + 4 / 256 * 1.01  # 4 bits, 8-bit scales for blocks of 64, fp32 scales for 256 of those (QLoRA, section 3)
ADAPTER = 4 + 4 + 8  # fp32 weight, its gradient, AdamW's two moments
PROJECTIONS = 7
BLOCK_PADDING = 1.1  # components/model/packing.py allows a fifth of a block to be padding
WORKSPACE = 0.6 * 2**30  # of a GPU: CUDA context, cuBLAS and FlexAttention workspaces, fragmentation


@dataclass(frozen=True)
class RowSize:
    """A packed row: its tokens, and its prefix's length times its sequences (0 without a prefix)."""

    tokens: int
    prefix_copies: int = 0


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes."""

    base: float
    adapter: float
    special_tokens: float
    activations: float
    vectors: float
    workspace: float

    @property
    def static(self) -> float:
        """What is there before a step and after it."""
        return self.base + self.adapter

    @property
    def peak(self) -> float:
        """The most that is there at once."""
        return self.static + max(self.special_tokens, self.activations) + self.vectors + self.workspace


def training_memory(
    shape: Shape, config: Config, rows: Sequence[RowSize], precision: str, gpu: bool, shards: int = 1
) -> TrainingMemory:
    """Peak memory of one step in one process.

    Args:
        rows: the packed rows of the batch that this process encodes.
        precision: fp32 or bf16, of the frozen base.
        shards: processes that the frozen base is split over (1: every one holds all of it).
    """
    train = config.train
    special = config.prompt.template == "special"
    vocabulary = shape.vocabulary + (3 if special else 0)
    width = BYTES[precision]
    linear = NF4 if train.quantization == "4bit" else width
    base = (vocabulary * shape.hidden + shape.ties) * width + shape.linear * linear / shards
    adapter = shape.lora(train.lora.rank) * ADAPTER
    each = [row_activations(shape, row, width, train.lora.rank, gpu, train.gradient_checkpointing) for row in rows]
    kept = max(each) if train.gradcache else sum(each)  # graphs that live until the loss is known
    longest = max(row.tokens for row in rows)
    again = longest * 3 * shape.intermediate * width  # gradients on their way through one layer
    if train.gradient_checkpointing:  # one layer at a time is computed again
        again += max(row_activations(shape, row, width, train.lora.rank, gpu, False) for row in rows) / shape.layers
    batch = train.batch_queries * (2 + train.negatives)
    return TrainingMemory(
        base=base,
        adapter=adapter,
        # peft writes the trained rows into a copy of the embeddings; at the end of a row's backward pass, when its
        # activations are gone, the copy's gradient is as large
        special_tokens=vocabulary * shape.hidden * 2 * width if special else 0.0,
        activations=kept + again,
        vectors=2 * batch * shape.hidden * 4,
        workspace=WORKSPACE if gpu else 0.0,
    )


def row_activations(shape: Shape, row: RowSize, width: float, rank: int, gpu: bool, checkpointing: bool) -> float:
    """Bytes that one row's forward pass keeps for the backward pass.

    A frozen projection keeps nothing of its own; its LoRA keeps its input (one for q, k, v, one for gate, up) and the
    `rank` numbers after A. A norm keeps its input in fp32. The MLP keeps gate, up and silu(gate). Attention keeps q, k,
    v and its output; on a CPU in padded blocks, the heads of k and v repeated, the prefix once a sequence. With
    gradient checkpointing a layer keeps its input only.
    """
    ends = row.tokens * shape.hidden * (width + 4)  # embeddings and the last norm
    if checkpointing:
        return shape.layers * row.tokens * shape.hidden * width + ends
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * shape.hidden * 4
    copies = 2 if width == BYTES["fp32"] else 5  # in bf16 peft casts the input anew for q, k, v, gate and up
    inputs = (copies * shape.hidden + q + shape.intermediate) * width
    mlp = (3 * shape.intermediate + PROJECTIONS * rank) * width
    attention = (2 * q + 2 * kv) * row.tokens if gpu else 4 * q * BLOCK_PADDING * row.tokens + 2 * q * row.prefix_copies
    return shape.layers * (row.tokens * (norms + inputs + mlp) + attention * width) + ends
