"""Counts of one task, added up part by part, and the metrics of the stage."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """Counts of one task; `reasons` has "kept" for candidates that no rule rejected."""

    queries: int = 0
    candidates: int = 0
    positives: int = 0
    triplets: int = 0
    negatives: int = 0
    own_negatives: int = 0  # candidates that the source judges irrelevant and no rule rejected
    without: int = 0  # queries of which every candidate was refused
    unscored: int = 0  # queries without a scored candidate
    scored_positives: int = 0  # positives of queries with a scored candidate: those that training may draw
    positives_without: int = 0  # of these, without a negative
    suspicious: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)

    def add(
        self, candidates: pl.DataFrame, positives: pl.DataFrame, triplets: pl.DataFrame, suspicious: pl.DataFrame
    ) -> None:
        """Count one part; whole queries."""
        queries = positives["query"].n_unique()
        self.queries += queries
        self.candidates += len(candidates)
        self.positives += len(positives)
        self.triplets += len(triplets)
        self.negatives += int(triplets["negatives"].list.len().sum())
        self.own_negatives += int((candidates["own"] & candidates["reason"].is_null()).sum())
        scored = candidates["query"].unique()
        self.unscored += queries - len(scored)
        self.without += len(scored) - candidates.filter(pl.col("reason").is_null())["query"].n_unique()
        known = triplets.filter(pl.col("query").is_in(scored.implode()))
        self.scored_positives += len(known)
        self.positives_without += int((known["negatives"].list.len() == 0).sum())
        self.suspicious += len(suspicious)
        self.reasons.update(dict(candidates.group_by(pl.col("reason").fill_null("kept")).len().iter_rows()))
        self.actions.update(dict(suspicious.group_by("action").len().iter_rows()))

    @property
    def kept(self) -> int:
        """Candidates that no rule rejected."""
        return self.reasons["kept"]


def collect_metrics(tallies: Mapping[str, Tally]) -> dict[str, float]:
    """Metrics over all tasks, and the negatives of each."""

    def total(name: str) -> float:
        return float(sum(getattr(one, name) for one in tallies.values()))

    reasons = sum((one.reasons for one in tallies.values()), Counter[str]())
    actions = sum((one.actions for one in tallies.values()), Counter[str]())
    return {
        "triplets": total("triplets"),
        "negatives_per_positive": total("negatives") / max(1.0, total("scored_positives")),
        "positives_without_negatives": total("positives_without"),
        "kept_share": total("kept") / max(1.0, total("candidates")),
        "own_negatives": total("own_negatives"),
        "unscored_queries": total("unscored"),
        "unscored_positives": total("triplets") - total("scored_positives"),
        "suspicious_positives": total("suspicious"),
        **{f"suspicious/{name}": float(actions[name]) for name in sorted(actions) if name != "report"},
        **{f"rejected/{name}": float(reasons[name]) for name in sorted(reasons) if name != "kept"},
        **{f"negatives/{task}": float(one.negatives) for task, one in sorted(tallies.items())},
    }


def log_counts(metrics: Mapping[str, float], candidates: int) -> None:
    """Two lines: what became of the candidates, and of the positives."""
    refused = ", ".join(
        f"{key.removeprefix('rejected/')} {int(n):,}" for key, n in metrics.items() if key.startswith("rejected/")
    )
    log.info(
        "%s candidates: %.1f %% usable as negatives; rejected: %s",
        f"{candidates:,}",
        100 * metrics["kept_share"],
        refused or "none",
    )
    log.info(
        "%s positives with %.1f negatives on average; %s without negatives; %s more whose query training does not draw "
        "(score.queries) or no candidate was found for; %s suspicious",
        f"{int(metrics['triplets'] - metrics['unscored_positives']):,}",
        metrics["negatives_per_positive"],
        f"{int(metrics['positives_without_negatives']):,}",
        f"{int(metrics['unscored_positives']):,}",
        f"{int(metrics['suspicious_positives']):,}",
    )
