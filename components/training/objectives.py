"""The loss of a batch: the terms of its task's kind (`train.objectives`), weighted and added."""

from typing import NamedTuple

import torch

from components.config import TrainParams
from components.training import losses
from components.training.batches import Batch
from components.training.masks import mask_by_guide, masked_documents, masked_further
from components.training.targets import Targets


class DenseScores(NamedTuple):
    """Dense teachers' cosines [B, M] of a batch: soft labels over the whole of it, and the guide of the masks."""

    soft: torch.Tensor | None = None
    guide: torch.Tensor | None = None


def objective_at_widths(
    queries: torch.Tensor, documents: torch.Tensor, batch: Batch, params: TrainParams, dense: DenseScores
) -> torch.Tensor:
    """Mean of `objective_of` over all dimensions of the vectors and their leading `train.matryoshka` ones."""
    total, widths = queries.new_zeros(()), [*params.matryoshka, queries.shape[1]]
    for width in widths:
        leading = _leading(queries, width), _leading(documents, width)
        total = total + objective_of(*leading, batch.targets, batch, params, dense) / len(widths)
    return total


def _leading(vectors: torch.Tensor, width: int) -> torch.Tensor:
    """The first `width` dimensions, of norm 1."""
    return vectors if width == vectors.shape[1] else torch.nn.functional.normalize(vectors[:, :width], dim=-1)


def objective_of(
    queries: torch.Tensor,
    documents: torch.Tensor,
    targets: Targets,
    batch: Batch,
    params: TrainParams,
    dense: DenseScores,
) -> torch.Tensor:
    """The loss of normalised vectors [B, dim] and [M, dim]: CoSENT of a graded batch, else InfoNCE and the teachers'.

    Args:
        targets: those of the batch; both are on the device of the vectors.
    """
    scores = queries @ documents.T
    if batch.graded:
        own = scores.gather(1, targets.positive[:, None])[:, 0]
        return losses.cosent(own, batch.ordered, params.temperature)
    kind, distillation = batch.objective, params.distillation
    total = _contrast(queries, documents, scores, targets, batch, params, dense.guide)
    if kind.distillation and distillation.weight:
        kl = losses.distillation_kl(scores, targets, params.temperature, distillation.teacher_temperature)
        total = total + distillation.weight * kl
    if kind.distillation and distillation.margin_mse_weight:
        total = total + distillation.margin_mse_weight * losses.margin_mse(scores, targets)
    if dense.soft is not None and distillation.in_batch is not None:
        soft = distillation.in_batch
        total = total + soft.weight * losses.in_batch_kl(scores, dense.soft, params.temperature, soft.temperature)
    return total


def _contrast(
    queries: torch.Tensor,
    documents: torch.Tensor,
    scores: torch.Tensor,
    targets: Targets,
    batch: Batch,
    params: TrainParams,
    guide: torch.Tensor | None,
) -> torch.Tensor:
    """InfoNCE with the masks and further negatives that `train` asks for."""
    margin, temperature = params.false_negative_margin, params.temperature
    in_batch = batch.objective.in_batch_negatives
    masked = masked_documents(scores, targets, margin=margin, in_batch=in_batch)
    if guide is not None and params.guide is not None:
        masked = masked | mask_by_guide(guide, targets, params.guide.margin)
    own = scores.gather(1, targets.positive[:, None])[:, 0]
    more = []
    if params.query_negatives and in_batch:
        similar = queries @ queries.T
        more.append(losses.extra_negatives(similar, masked_further(similar, targets.alike, own, margin), temperature))
    if params.document_negatives and in_batch:
        similar = documents[targets.positive] @ documents.T
        more.append(losses.extra_negatives(similar, masked_further(similar, targets.answers, own, margin), temperature))
    loss = losses.multi_positive_nce if params.multi_positive else losses.info_nce
    return loss(scores, targets, masked, temperature, torch.cat(more, dim=1) if more else None)
