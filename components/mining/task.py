"""Mining of one task: its margin from the dev queries, then rules, relabelling and triplets, some queries at a time."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from components.config import MineParams
from components.config.mining import Scale
from components.contracts.streams import TableWriter, read_queries
from components.contracts.tables import TEACHER_SCORES, check_rows
from components.data.inputs import Inputs
from components.mining.chance import Ranking, rank_positives
from components.mining.evidence import Evidence, judge_task
from components.mining.facts import TaskTexts, gather_facts, positive_values
from components.mining.judge import Judge
from components.mining.margins import TaskMargin, fit_margin
from components.mining.relabel import judge_hardest, judge_suspicious, weighted_positives, with_actions
from components.mining.rules import apply_rules, hardest
from components.mining.sample import Sample
from components.mining.scale import with_values
from components.mining.suspicious import suspicious_positives
from components.mining.tally import Tally

log = logging.getLogger(__name__)
PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Setting:
    """Inputs of mining that are the same for every task.

    graded: names of the sts tasks, whose pairs are trained with their own grades; a judge gives none.
    """

    inputs: Inputs
    scores: Path
    params: MineParams
    scale: Scale
    judge: Judge | None
    pool: ThreadPoolExecutor
    seed: int
    graded: frozenset[str] = frozenset()


@dataclass
class Mined:
    """Results of one task."""

    name: str
    margin: TaskMargin
    ranking: Ranking
    evidence: Evidence | None
    tally: Tally = field(default_factory=Tally)
    judgements: list[pl.DataFrame] = field(default_factory=list)
    suspicious: list[pl.DataFrame] = field(default_factory=list)


class TaskMining:
    """One task: its texts, and what the dev queries say about it."""

    def __init__(self, texts: TaskTexts, setting: Setting) -> None:
        self.texts, self.setting = texts, setting
        self.found = self._fit()

    def _fit(self) -> Mined:
        """Read the dev queries: how the teacher ranks, what the judge says, the margin; log what is wrong."""
        given, params, name = self.setting, self.setting.params, self.texts.name
        facts, positives = self._dev()
        evidence = None
        if given.judge is not None and len(facts):
            evidence = judge_task(given.judge, facts, positives, self.texts, params, given.scale, given.seed)
        margin = fit_margin(name, facts, evidence, params, given.scale)
        known = apply_rules(facts, params, given.scale, relative_rule=False)
        ranking = rank_positives(name, known, positives)
        if ranking.by_chance:
            log.warning("the teacher ranks no better than chance (50 %%): %s", ranking)
        if margin.told:
            log.warning("%s", margin.told)
        if params.false_negatives == "relabel" and (reason := self._why_not_relabelled(evidence)):
            log.warning("%s: nothing is relabelled: %s", name, reason)
        return Mined(name, margin, ranking, evidence, judgements=[evidence.judgements] if evidence else [])

    def _why_not_relabelled(self, evidence: Evidence | None) -> str | None:
        """None where the judge's positives are taken."""
        if self.texts.name in self.setting.graded:
            return "its pairs are trained with grades, and the judge gives none"
        return evidence.unfit if evidence else "there are no dev queries to test the judge on"

    def mine(self, triplets: TableWriter, rejections: TableWriter, sample: Sample) -> None:
        """Append the task's triplets and rejections; fill the tally and the report's sample."""
        params = self.setting.params
        for facts, positives in self._parts():
            margin = pl.lit(self.found.margin.margin, pl.Float64)
            candidates = apply_rules(facts.with_columns(margin=margin), params, self.setting.scale)
            candidates = self._relabelled(candidates)
            suspicious = self._suspicious(candidates, positives)
            trained = weighted_positives(positives, candidates, suspicious, params.suspicious_weight)
            rows = build_triplets(candidates, trained, params.negatives)
            triplets.append(rows)
            rejections.append(candidates.filter(pl.col("reason").is_not_null()))
            self.found.suspicious.append(suspicious)
            self.found.tally.add(candidates, positives, rows, suspicious)
            sample.add(candidates, positives, suspicious)

    def _trusted(self) -> tuple[Judge, Evidence] | None:
        """The judge and its evidence, if it knows this task."""
        judge, evidence = self.setting.judge, self.found.evidence
        return (judge, evidence) if judge and evidence and evidence.unfit is None else None

    def _relabelled(self, candidates: pl.DataFrame) -> pl.DataFrame:
        trusted = self._trusted()
        relabels = self.setting.params.false_negatives == "relabel" and self.texts.name not in self.setting.graded
        if not relabels or trusted is None:
            return candidates
        candidates, rows = judge_hardest(candidates, self.texts, *trusted)
        self.found.judgements.append(rows)
        return candidates

    def _suspicious(self, candidates: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
        params, trusted = self.setting.params, self._trusted()
        found = suspicious_positives(candidates, positives, params.suspicious)
        found = with_actions(found, self.texts, params)
        if params.suspicious_action != "report" and trusted is not None:
            found, rows = judge_suspicious(found, self.texts, *trusted)
            self.found.judgements.append(rows)
        return found

    def _dev(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(facts, positives) of the dev queries."""
        dev = self.texts.queries.filter(pl.col("split") == "dev").select(query="row")
        found = [scores.join(dev, on="query", how="semi", maintain_order="left") for scores, _ in self._read()]
        qrels = self._qrels().join(dev, on="query", how="semi", maintain_order="left")
        return self._facts(pl.concat(found), qrels)

    def _parts(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(facts, positives) of some queries at a time."""
        for scores, qrels in self._read():
            yield self._facts(scores, qrels)

    def _facts(self, scores: pl.DataFrame, qrels: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        given = self.setting
        scores = with_values(scores, given.scale)
        positives = positive_values(scores, qrels, self.texts.stored.prepared, str(given.scores))
        own = given.inputs.own_negatives.join(qrels, on="query", how="semi", maintain_order="left")
        return gather_facts(scores, positives, own, self.texts, given.params, given.pool), positives

    def _qrels(self) -> pl.DataFrame:
        first, last = self._range()
        return self.setting.inputs.qrels.filter(pl.col("query").is_between(first, last))

    def _read(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(scores, qrels) of some queries at a time; every query of the task is in one part."""
        first, last = self._range()
        qrels, start = self._qrels(), first
        none = pl.DataFrame(schema=dict.fromkeys(TEACHER_SCORES.columns, pl.Null))
        empty = check_rows(none, str(self.setting.scores), TEACHER_SCORES)
        for part in read_queries(self.setting.scores, TEACHER_SCORES, first, last, PAIRS_AT_ONCE):
            stop = int(part["query"][-1])
            yield part, qrels.filter(pl.col("query").is_between(start, stop))
            start = stop + 1
        if start <= last:
            yield empty, qrels.filter(pl.col("query") >= start)

    def _range(self) -> tuple[int, int]:
        rows = self.texts.queries["row"]
        return int(rows[0]), int(rows[-1])


def build_triplets(candidates: pl.DataFrame, positives: pl.DataFrame, negatives: int) -> pl.DataFrame:
    """One row per positive with the query's `negatives` hardest kept candidates, hardest first."""
    chosen = (
        hardest(candidates, negatives)
        .group_by("query", maintain_order=True)
        .agg(negatives="document", negative_scores="score")
    )
    empty = {"negatives": pl.lit([], pl.List(pl.UInt32)), "negative_scores": pl.lit([], pl.List(pl.Float64))}
    return (
        positives.select("query", "weight", positive="document", positive_score="score")
        .join(chosen, on="query", how="left")
        .with_columns(pl.col(name).fill_null(default) for name, default in empty.items())
        .sort("query", "positive")
    )
