"""Training losses on L2-normalised vectors, with formulas and sources (docs/recipe.md lists them together).

Shapes: B queries, M documents of the whole batch (all devices), G = 1 + hard negatives of one query's own group.
"""

import torch
from torch.nn import functional

from components.training.targets import Targets

MASKED = -1e4  # logit excluded from a softmax; finite, so that bf16 and gradients stay finite


def info_nce(
    scores: torch.Tensor,
    targets: Targets,
    masked: torch.Tensor,
    temperature: float,
    more: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross entropy of the positive against the negatives (van den Oord 2018; in-batch: DPR 2020).

        L = -mean_i log( exp(s_i+ / t) / (sum_j m_ij exp(s_ij / t) + sum_k exp(l_ik)) )

    The mean is weighted by the targets' weights.

    Args:
        scores: cosines [B, M].
        masked: bool [B, M], where m_ij = 0.
        more: logits l of further negatives [B, K].
    """
    logits = _logits(scores, masked, temperature, more)
    if not targets.weighted:
        return functional.cross_entropy(logits, targets.positive)
    return _weighted(functional.cross_entropy(logits, targets.positive, reduction="none"), targets)


def multi_positive_nce(
    scores: torch.Tensor,
    targets: Targets,
    masked: torch.Tensor,
    temperature: float,
    more: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE with every positive of the batch in the numerator (supervised contrastive, arXiv 2004.11362, eq. 2).

        L = -mean_i 1/|P_i| sum_{p in P_i} log( exp(s_ip / t) / (sum_{j in P_i or m_ij} exp(s_ij / t) + ...) )

    P_i: the query's own positive and the documents known to be relevant to it (judged, or of its label), but for those
    that have its own text. Arguments as in `info_nce`.
    """
    others = targets.relevant & ~targets.equal
    positives = others.scatter(1, targets.positive[:, None], True)
    logs = _logits(scores, masked & ~positives, temperature, more).log_softmax(-1)[:, : scores.shape[1]]
    return _weighted(-(logs * positives).sum(-1) / positives.sum(-1), targets)


def extra_negatives(similar: torch.Tensor, masked: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits of queries or documents as further negatives, for `info_nce(more=)` (Qwen3-Embedding, arXiv 2506.05176).

        query-query         sum_{j != i} m_ij exp(s(q_i, q_j) / t)
        document-document   sum_j m_ij exp(s(d_i+, d_j) / t)

    Both are added to the denominator of InfoNCE. GTE (arXiv 2308.03281) has the same terms.

    Args:
        similar: cosines [B, K].
        masked: bool [B, K], where m_ij = 0.
    """
    return (similar / temperature).masked_fill(masked, MASKED)


def _weighted(each: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Mean of each query's loss by its weight."""
    weight = targets.weight.to(each.dtype)
    return (each * weight).sum() / weight.sum()


def _logits(scores: torch.Tensor, masked: torch.Tensor, temperature: float, more: torch.Tensor | None) -> torch.Tensor:
    logits = (scores / temperature).masked_fill(masked, MASKED)
    return logits if more is None else torch.cat([logits, more], dim=1)


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


def cosent(cosines: torch.Tensor, ordered: torch.Tensor, temperature: float) -> torch.Tensor:
    """Ranking loss for graded pairs (Su 2022, CoSENT): pairs with higher grades should have higher cosines.

        L = log(1 + sum_{g_i > g_j} exp((c_j - c_i) / t))

    Args:
        cosines: [B], the cosine of each pair.
        ordered: those of `ordered_pairs`, on the device of the cosines.
    """
    differences = (cosines[None, :] - cosines[:, None]) / temperature  # [i, j] = c_j - c_i
    wrong_order = differences.flatten().index_select(0, ordered)
    return torch.logsumexp(torch.cat([differences.new_zeros(1), wrong_order]), dim=0)


def ordered_pairs(grades: torch.Tensor) -> torch.Tensor:
    """int64: i * B + j for all g_i > g_j of grades [B]. On the host: how many there are is not known before."""
    return (grades[:, None] > grades[None, :]).flatten().nonzero()[:, 0]


def _own(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Scores of each query's own group [B, G]."""
    return scores.gather(1, targets.group.clamp_min(0))


def _mean_over(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean of `values` where `where`; 0 (with a gradient of 0) when `where` is all false."""
    return (values * where).sum() / where.sum().clamp_min(1)
