"""Training batches: queries, documents, shots and targets of each step, a pure function of (seed, step).

One task per batch (in-batch negatives of another task are too easy, and its instruction would not be shared). Since a
batch depends only on seed and step, a resumed run sees the same data as an uninterrupted one.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from components.base.errors import UserError
from components.config import TrainParams
from components.config.objectives import GradedObjective, ObjectiveParams
from components.contracts.schedule import Schedule, keyed_random
from components.contracts.shots import Shot, shot_response
from components.contracts.tasks import Task
from components.training.draws import in_random_order
from components.training.examples import Examples, TrainingData
from components.training.losses import ordered_pairs
from components.training.targets import Targets, make_targets


@dataclass(frozen=True)
class Batch:
    """One step's data. `shots[c]` is the few-shot set of the c-th run of at most `train.shots.share` queries.

    instruction: the wording of this step, of the task's instruction or one of its paraphrases. starts: place of the
    first query of each run. own_instructions: of each run, the one that the source gives its queries, or None.
    objective: the loss's terms, those of the task's kind. graded: the loss is CoSENT over `grades` instead.
    """

    step: int
    task: Task
    instruction: str
    objective: ObjectiveParams
    graded: bool
    queries: np.ndarray  # uint32 [B], rows
    documents: np.ndarray  # uint32 [M], rows
    query_texts: list[str]
    document_texts: list[str]
    shots: list[list[Shot]]
    starts: list[int]
    own_instructions: list[str | None]
    targets: Targets
    grades: torch.Tensor  # float32 [B], relevance of each query's positive
    ordered: torch.Tensor  # int64, pairs of queries by their grades (losses.ordered_pairs); empty if not graded

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """The same batch with `change` of what the loss reads: in pinned memory, or on another device."""
        return replace(self, targets=self.targets.mapped(change), ordered=change(self.ordered))


Pairs = tuple[np.ndarray, np.ndarray]  # rows of queries and of their positives
_NEGATIVES, _SHOTS = 2, 3  # first part of a key
_ALIKE = 0.8  # of a graded task's best grade: from there on a pair shows what the task asks for


class Batches:
    """All batches of a run; `batches[step]` makes one."""

    def __init__(self, data: TrainingData, params: TrainParams, seed: int) -> None:
        self.data, self.params, self.seed = data, params, seed
        self._graded = {name: self._is_graded(name) for name in data.examples}
        self._shown = {name: self._may_be_shots(name) for name in data.examples}
        sizes = {name: len(examples) for name, examples in data.examples.items()}
        self.schedule = Schedule(sizes, data.tasks, params, seed)

    def __len__(self) -> int:
        return self.params.steps

    def __getitem__(self, step: int) -> Batch:
        turn = self.schedule.plan[step]
        name, examples, chosen = turn.task, self.data.examples[turn.task], self.schedule.draw(turn)
        task, graded = self.data.tasks[name], self._graded[name]
        objective = self.params.objectives.of(task.kind)
        own = self.data.own_instructions(examples.query[chosen])
        order = np.argsort(own, kind="stable")  # queries of one instruction stand together
        chosen, own = chosen[order], own[order]
        starts = _run_starts(own, self.params.shots.share)
        queries, positives = examples.query[chosen], examples.positive[chosen]
        width = self.params.negatives if objective.hard_negatives and not graded else 0
        taken = self._negatives(step, examples, chosen, width)
        mined = np.where(taken < 0, -1, examples.negatives[taken].astype(np.int64))
        documents, group = _numbered(np.column_stack([positives.astype(np.int64), mined]))
        scores = np.column_stack([examples.positive_score[chosen], examples.negative_scores[taken]])
        relevant, other = self._known(queries, documents)
        grades = torch.from_numpy(self.data.judgements.grades(queries, positives).astype(np.float32))
        query_texts = self.data.query_text.take(queries)
        document_texts = self.data.document_text.take(documents)
        return Batch(
            step=step,
            task=task,
            instruction=turn.instruction,
            objective=objective,
            graded=graded,
            queries=queries,
            documents=documents,
            query_texts=query_texts,
            document_texts=document_texts,
            shots=self._shots(step, name, {*query_texts, *document_texts}, len(starts)),
            starts=starts,
            own_instructions=[self.data.instructions[own[one]] if own[one] >= 0 else None for one in starts],
            targets=make_targets(
                torch.from_numpy(group),
                torch.from_numpy(np.where(group < 0, 0.0, scores).astype(np.float32)),
                torch.from_numpy(relevant),
                torch.from_numpy(other),
                torch.from_numpy(examples.weight[chosen].astype(np.float32)),
                query_texts,
                document_texts,
            ),
            grades=grades,
            ordered=ordered_pairs(grades if graded else grades[:0]),
        )

    def draw_shot_number(self, step: int, chunk: int) -> tuple[np.random.Generator, int]:
        """(generator to pick the shots with, their number by `train.shots`) for the `chunk`-th run of queries."""
        draw, shots = keyed_random(self.seed, _SHOTS, step, chunk), self.params.shots
        if shots.rate is None:
            return draw, int(draw.integers(0, shots.max + 1))
        return draw, int(draw.choice(shots.max + 1, p=shots.chances))

    def _is_graded(self, name: str) -> bool:
        """Whether the task's loss is CoSENT: an sts task whose pairs have more than one grade.

        Raises:
            UserError: the task could teach nothing, or has pairs that its loss would wrongly pull together.
        """
        examples, kind = self.data.examples[name], self.data.tasks[name].kind
        objective = self.params.objectives.of(kind)
        grades = self.data.judgements.grades(examples.query, examples.positive)
        if isinstance(objective, GradedObjective) and objective.cosent and grades.min() < grades.max():
            return True
        if grades.min() <= 0:
            raise UserError(
                f"train: task {name}: has pairs of grade {grades.min():g} and no CoSENT to rank them; set "
                f"train.objectives.sts.cosent: true, or prepare.tasks.{name}.positive_score above 0"
            )
        soft = objective.in_batch_distillation and self.params.distillation.in_batch
        if not objective.in_batch_negatives and not soft and not (self.params.negatives and len(examples.negatives)):
            raise UserError(
                f"train: task {name}: {kind} learns from hard negatives alone, and it has none; "
                f"set train.negatives above 0, or train.objectives.{kind}.in_batch_negatives: true"
            )
        return False

    def _negatives(self, step: int, examples: Examples, chosen: np.ndarray, most: int) -> np.ndarray:
        """Places of the negatives of each example: int64 [B, widest], -1 = none.

        `most` of the mined ones are drawn, new at each step; all of them if there are fewer. By teacher score: the
        largest score / T plus Gumbel noise, which draws without replacement from softmax(score / T) (Kool et al.,
        arXiv 1903.06059).
        """
        starts, ends = examples.starts[chosen], examples.starts[chosen + 1]
        sizes = np.minimum(ends - starts, most)
        places = starts[:, None] + np.arange(sizes.max(initial=0))
        for i in np.flatnonzero(ends - starts > most) if most else ():
            draw = keyed_random(self.seed, _NEGATIVES, step, int(i))
            if self.params.negative_sampling == "teacher_score":
                scores = examples.negative_scores[starts[i] : ends[i]] / self.params.distillation.teacher_temperature
                drawn = np.argsort(-(scores + draw.gumbel(size=len(scores))))[:most]
            else:
                drawn = draw.choice(int(ends[i] - starts[i]), most, replace=False)
            places[i] = starts[i] + np.sort(drawn)
        return np.where(np.arange(places.shape[1]) < sizes[:, None], places, -1)

    def _may_be_shots(self, name: str) -> Pairs:
        """(queries, positives) that shots are drawn from: in a graded task the pairs of high grades."""
        examples = self.data.examples[name]
        if not self._graded[name]:
            return examples.query, examples.positive
        grades = self.data.judgements.grades(examples.query, examples.positive)
        alike = grades >= _ALIKE * grades.max() if grades.max() > 0 else grades == grades.max()
        return examples.query[alike], examples.positive[alike]

    def _shots(self, step: int, name: str, in_batch: set[str], runs: int) -> list[list[Shot]]:
        """A few-shot set for each run of queries, without any text of the batch."""
        sets, shown, kind = [], self._shown[name], self.data.tasks[name].kind
        for chunk in range(runs):
            draw, wanted = self.draw_shot_number(step, chunk)
            shots: list[Shot] = []
            most = 4 * (wanted + len(in_batch)) if wanted else 0
            for i in itertools.islice(in_random_order(draw, len(shown[0])), most):
                (query,) = self.data.query_text.take(shown[0][i : i + 1])
                (response,) = self.data.document_text.take(shown[1][i : i + 1])
                if query not in in_batch and response not in in_batch:
                    label = int(self.data.document_label[shown[1][i]])
                    category = self.data.labels[label] if label >= 0 else None
                    shots.append(Shot(query, shot_response(kind, response, category)))
                    if len(shots) == wanted:
                        break
            sets.append(shots)
        return sets

    def _known(self, queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two of bool [B, M]: judged relevant for the query, or of its label; of another label than the query's."""
        labels, of_documents = self.data.query_label[queries][:, None], self.data.document_label[documents][None, :]
        labelled = (labels >= 0) & (of_documents >= 0)
        relevant: np.ndarray = labelled & (labels == of_documents)
        places, judged = self.data.judgements.of(queries)
        order = np.argsort(documents)
        at = np.searchsorted(documents, judged, sorter=order).clip(max=len(documents) - 1)
        there = documents[order[at]] == judged
        relevant[places[there], order[at[there]]] = True
        return relevant, labelled & ~relevant


def _run_starts(instructions: np.ndarray, share: int) -> list[int]:
    """Places where runs of at most `share` queries of one instruction begin.

    >>> _run_starts(np.array([-1, -1, -1, 0, 0]), 2)
    [0, 2, 3]
    """
    starts: list[int] = []
    for place in range(len(instructions)):
        if not starts or place - starts[-1] == share or instructions[place] != instructions[place - 1]:
            starts.append(place)
    return starts


def _numbered(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct documents of the groups, and each member's place among them: uint32 [M] and int64 [B, G].

    Positives come first, then the negatives in their order. A member of -1 keeps that place.
    """
    flat = np.concatenate([members[:, 0], members[:, 1:].ravel()])
    distinct, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    first[distinct < 0] = len(flat)  # last
    order = np.argsort(first)
    place = np.empty(len(distinct), dtype=np.int64)
    place[order] = np.arange(len(distinct))
    place[distinct < 0] = -1
    documents = distinct[order][: len(distinct) - int((distinct < 0).any())].astype(np.uint32)
    places, number = place[inverse], len(members)
    return documents, np.column_stack([places[:number], places[number:].reshape(number, -1)])
