"""One curve from raw score to relevance per task, fitted on its dev pairs, and the page that shows whether it holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from components.config import ScoreParams
from components.teacher.calibration import (
    Calibration,
    cross_fit_relevance,
    expected_calibration_error,
    fit_calibration,
)
from components.teacher.reliability import Reliability, write_reliability

LEAST = 20  # minimum of dev positives, and of other dev candidates, for a curve per task
MOST = 1 << 20  # pairs of a task that its curve is fitted on


@dataclass(frozen=True)
class Curves:
    """The curve of each task, and the error on the pairs they were fitted on."""

    by_task: dict[str, Calibration]
    error: float


def fit_curves(pairs: Mapping[str, pl.DataFrame], on: str, params: ScoreParams, out: Path) -> Curves:
    """Write calibration.json and report.html.

    Args:
        pairs: by task: query, reranker_score, positive of the pairs to fit on; sorted by query.
        on: what these pairs are, for the page.
    """
    together = fit_calibration(params.calibration, *_labelled(pl.concat(pairs.values())))
    curves, stated, reliabilities = {}, {}, []
    for task, own in pairs.items():
        raw, positive = _labelled(own)
        enough = min(int(positive.sum()), int((~positive).sum())) >= LEAST
        curve = fit_calibration(params.calibration, raw, positive) if enough else together
        curves[task] = curve
        stated[task] = {**asdict(curve), "of": task if enough else "all tasks"}
        queries = own["query"].rank("dense").to_numpy()
        relevance = cross_fit_relevance(params.calibration, raw, positive, queries) if enough else curve(raw)
        reliabilities.append(Reliability(task, curve, raw, relevance, positive, enough))
    (out / "calibration.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    write_reliability(out / "report.html", reliabilities, on)
    error = expected_calibration_error(
        np.concatenate([one.relevance for one in reliabilities]),
        np.concatenate([one.positive for one in reliabilities]),
    )
    return Curves(curves, error)


def _labelled(pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(raw scores, whether the pair is a labelled positive)."""
    return pairs["reranker_score"].to_numpy(), pairs["positive"].to_numpy()
