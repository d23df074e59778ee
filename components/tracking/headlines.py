"""The metrics that a comparison of pipelines shows first, per stage; all others follow below."""

from collections.abc import Mapping

HEADLINES = {
    "evaluate": ("trained.mean", "gain.mean", "base.mean", "teacher.mean"),
    "train": ("train.dev_ndcg_at_10", "train.final_loss", "train.steps"),
    "select_shots": ("tasks_with_shots",),
    "mine": ("triplets", "kept_share"),
    "score": ("pairs", "calibration_error"),
    "retrieve": ("recall",),
    "prepare": ("removed_texts",),
    "fetch": ("rows",),
    "register": ("register.model_bytes",),
}
NAMES = tuple(f"{stage}/{metric}" for stage, metrics in HEADLINES.items() for metric in metrics)


def headline_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The headline metrics among `STAGE/METRIC`, the scores first."""
    return {name: metrics[name] for name in NAMES if name in metrics}
