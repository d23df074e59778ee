"""The loss of a batch: the terms of its task's kind (`train.objectives`), weighted and added."""

import torch

from components.config import TrainParams
from components.training import losses
from components.training.batches import Batch


def objective_of(
    scores: torch.Tensor,
    targets: losses.Targets,
    batch: Batch,
    params: TrainParams,
    teacher: torch.Tensor | None,
) -> torch.Tensor:
    """The loss of cosines [B, M]: CoSENT of a graded batch, else InfoNCE and the teachers' terms.

    Args:
        targets: those of the batch, on the device of `scores`.
        teacher: a dense teacher's cosines [B, M]; None without soft labels over the whole batch.
    """
    if batch.graded:
        own = scores.gather(1, targets.positive[:, None])[:, 0]
        return losses.cosent(own, batch.grades.to(own.device), params.temperature)
    kind, distillation = batch.objective, params.distillation
    total = losses.info_nce(
        scores, targets, params.temperature, params.false_negative_margin, in_batch=kind.in_batch_negatives
    )
    if kind.distillation and distillation.weight:
        kl = losses.distillation_kl(scores, targets, params.temperature, distillation.teacher_temperature)
        total = total + distillation.weight * kl
    if kind.distillation and distillation.margin_mse_weight:
        total = total + distillation.margin_mse_weight * losses.margin_mse(scores, targets)
    if teacher is not None and distillation.in_batch is not None:
        soft = distillation.in_batch
        total = total + soft.weight * losses.in_batch_kl(scores, teacher, params.temperature, soft.temperature)
    return total
