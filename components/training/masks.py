"""Which documents and queries of a batch are no negatives of a query.

Shapes: B queries, M documents of the whole batch. A True cell is left out of the loss's denominator.
"""

import torch

from components.training.targets import Targets


def masked_documents(
    scores: torch.Tensor, targets: Targets, *, margin: float | None = None, in_batch: bool = True
) -> torch.Tensor:
    """bool [B, M]: documents that are no negatives of the query; False at its positive.

    These are the documents known to be relevant, those whose text is the query's or its positive's, and with a margin
    c those of s_ij > s_i+ + c (Qwen3-Embedding, arXiv 2506.05176, section 3: likely false negatives). Documents of
    another label than the query's are no false negatives, and the margin masks them all the same: an untrained student
    is nearest to a wrong label more often than not, and with those losses the starter learned slower in every task.

    Args:
        scores: cosines [B, M].
        in_batch: False leaves the query's own hard negatives only.
    """
    masked = targets.relevant | targets.equal
    if not in_batch:
        masked |= _outside_the_group(targets)
    if margin is not None:
        masked |= scores.detach() > _own(scores, targets) + margin
    return masked.scatter(1, targets.positive[:, None], False)


def mask_by_guide(guide: torch.Tensor, targets: Targets, margin: float) -> torch.Tensor:
    """bool [B, M]: documents that a guide model finds as relevant as the positive (GISTEmbed, arXiv 2402.16829).

        g_ij > g_i+ - margin

    Documents of another label than the query's are known to be irrelevant.

    Args:
        guide: the guide's cosines [B, M].
    """
    masked = (guide > _own(guide, targets) - margin) & ~targets.other
    return masked.scatter(1, targets.positive[:, None], False)


def masked_further(similar: torch.Tensor, known: torch.Tensor, own: torch.Tensor, margin: float | None) -> torch.Tensor:
    """bool [B, K]: queries or documents that are no further negatives (query-query, document-document) of query i.

    These are the known ones, and with a margin c those of similar_ij > s_i+ + c (Qwen3-Embedding, as above).

    Args:
        similar: cosines [B, K].
        known: Targets.alike, or Targets.answers.
        own: cosine of each query and its positive [B].
    """
    return known if margin is None else known | (similar.detach() > own.detach()[:, None] + margin)


def _own(scores: torch.Tensor, targets: Targets) -> torch.Tensor:
    return scores.detach().gather(1, targets.positive[:, None])


def _outside_the_group(targets: Targets) -> torch.Tensor:
    """bool [B, M]: documents that are neither the query's positive nor one of its own hard negatives."""
    there = targets.group >= 0
    counts = torch.zeros(targets.relevant.shape, dtype=torch.int64, device=there.device)
    return counts.scatter_add(1, targets.group.clamp_min(0), there.long()) == 0
