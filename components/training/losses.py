"""Training losses on L2-normalised vectors, with formulas and sources (docs/recipe.md lists them together).

Shapes: B queries, M documents of the whole batch (all devices), G = 1 + hard negatives of one query's own group.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

MASKED = -1e4  # logit excluded from a softmax; finite, so that bf16 and gradients stay finite


@dataclass(frozen=True)
class Targets:
    """Targets of a batch.

    positive: int64 [B], each query's positive among the M documents.
    group: int64 [B, G], the query's own positive (first) and hard negatives; -1 = none.
    teacher: float32 [B, G], the teacher's raw score of each group member (ignored where group is -1).
    relevant: bool [B, M], documents known to be relevant to the query besides its positive: never negatives.
    """

    positive: torch.Tensor
    group: torch.Tensor
    teacher: torch.Tensor
    relevant: torch.Tensor

    def to(self, device: torch.device) -> "Targets":
        """The same targets on another device."""
        return Targets(*(part.to(device) for part in vars(self).values()))

    def outside_the_group(self) -> torch.Tensor:
        """bool [B, M]: documents that are neither the query's positive nor one of its own hard negatives."""
        there = self.group >= 0
        counts = torch.zeros(self.relevant.shape, dtype=torch.int64, device=there.device)
        return counts.scatter_add(1, self.group.clamp_min(0), there.long()) == 0


def info_nce(
    scores: torch.Tensor,
    targets: Targets,
    temperature: float,
    false_negative_margin: float | None = None,
    in_batch: bool = True,
) -> torch.Tensor:
    """Cross entropy of the positive against every document of the batch (van den Oord 2018; in-batch: DPR 2020).

        L = -mean_i log( exp(s_i+ / t) / sum_j m_ij exp(s_ij / t) )

    m_ij = 0 for documents known to be relevant, and, with a margin, for s_ij > s_i+ + margin (Qwen3-Embedding,
    arXiv 2506.05176, section 3: likely false negatives).

    Args:
        scores: cosines [B, M].
        in_batch: False leaves m_ij = 1 for the query's own hard negatives only. A query without any has no loss.
    """
    masked = targets.relevant.clone() if in_batch else targets.relevant | targets.outside_the_group()
    own = scores.gather(1, targets.positive[:, None])
    if false_negative_margin is not None:
        masked |= scores.detach() > own.detach() + false_negative_margin
    masked.scatter_(1, targets.positive[:, None], False)
    logits = (scores / temperature).masked_fill(masked, MASKED)
    return functional.cross_entropy(logits, targets.positive)


def distillation_kl(
    scores: torch.Tensor, targets: Targets, temperature: float, teacher_temperature: float
) -> torch.Tensor:
    """Soft labels: cross entropy from the teacher's distribution over a query's own group (bge-en-icl's KD term).

        L = -mean_i sum_{j in group i} softmax(t_i / T)_j log_softmax(s_i / tau)_j

    It differs from KL(teacher || student) by the teacher's entropy, a constant. Queries without negatives are skipped.
    """
    there = targets.group >= 0
    student = (_own(scores, targets) / temperature).masked_fill(~there, MASKED)
    teacher = (targets.teacher / teacher_temperature).masked_fill(~there, MASKED)
    each = -(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1)
    return _mean_over(each, there.sum(-1) > 1)


def in_batch_kl(
    scores: torch.Tensor, teacher: torch.Tensor, temperature: float, teacher_temperature: float
) -> torch.Tensor:
    """Soft labels of a dense teacher over every document of the batch (TCT-ColBERT, Lin 2021, arXiv 2010.11386).

        L = -mean_i sum_j softmax(c_i / T)_j log_softmax(s_i / tau)_j

    Unlike InfoNCE nothing is masked: relevant documents besides the positive have soft labels too.

    Args:
        scores, teacher: cosines of student and teacher [B, M].
    """
    student = (scores / temperature).log_softmax(-1)
    return -((teacher / teacher_temperature).softmax(-1) * student).sum(-1).mean()


def margin_mse(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Squared error between student and teacher margins s+ - s- (Hofstätter 2020, arXiv 2010.02666)."""
    there = targets.group[:, 1:] >= 0
    own = _own(scores, targets)
    student, teacher = own[:, :1] - own[:, 1:], targets.teacher[:, :1] - targets.teacher[:, 1:]
    return _mean_over((student - teacher).square(), there)


def cosent(cosines: torch.Tensor, grades: torch.Tensor, temperature: float) -> torch.Tensor:
    """Ranking loss for graded pairs (Su 2022, CoSENT): pairs with higher grades should have higher cosines.

        L = log(1 + sum_{g_i > g_j} exp((c_j - c_i) / t))

    Args:
        cosines, grades: [B], the cosine and the grade of each pair.
    """
    differences = (cosines[None, :] - cosines[:, None]) / temperature  # [i, j] = c_j - c_i
    wrong_order = differences[grades[:, None] > grades[None, :]]
    return torch.logsumexp(torch.cat([differences.new_zeros(1), wrong_order]), dim=0)


def _own(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Scores of each query's own group [B, G]."""
    return scores.gather(1, targets.group.clamp_min(0))


def _mean_over(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean of `values` where `where`; 0 (with a gradient of 0) when `where` is all false."""
    return (values * where).sum() / where.sum().clamp_min(1)
