"""Training batches: queries, documents, shots and targets of each step, a pure function of (seed, step).

One task per batch (in-batch negatives of another task are too easy, and its instruction would not be shared). Since a
batch depends only on seed and step, a resumed run sees the same data as an uninterrupted one.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from components.base.errors import UserError
from components.config import TrainParams
from components.config.objectives import GradedObjective, ObjectiveParams
from components.contracts.tasks import Task
from components.model.prompt import Shot
from components.training.draws import in_random_order, random
from components.training.examples import Example, TrainingData
from components.training.targets import Targets, make_targets


@dataclass(frozen=True)
class Batch:
    """One step's data. `shots[c]` is the few-shot set of the c-th run of `train.shots.share` queries.

    objective: the loss's terms, those of the task's kind. graded: the loss is CoSENT over `grades` instead.
    """

    step: int
    task: Task
    objective: ObjectiveParams
    graded: bool
    examples: list[Example]
    query_texts: list[str]
    documents: list[int]  # rows
    document_texts: list[str]
    shots: list[list[Shot]]
    targets: Targets
    grades: torch.Tensor  # float32 [B], relevance of each query's positive


_SCHEDULE, _ORDER, _NEGATIVES, _SHOTS = range(4)  # first part of a key


class Batches:
    """All batches of a run; `batches[step]` makes one.

    Tasks are drawn by weight * size^alpha within the phase of a step; examples of a task are visited in a new random
    order each epoch.
    """

    def __init__(self, data: TrainingData, params: TrainParams, seed: int) -> None:
        self.data, self.params, self.seed = data, params, seed
        self._names = sorted(data.examples)
        self._graded = {name: self._is_graded(name) for name in self._names}
        self._refuse_tasks_without_negatives()
        self._refuse_pairs_that_are_no_positives()
        self._plan = self._schedule()

    def __len__(self) -> int:
        return self.params.steps

    def __getitem__(self, step: int) -> Batch:
        name, turn = self._plan[step]
        examples = self._draw(name, turn)
        task, graded = self.data.tasks[name], self._graded[name]
        objective = self.params.objectives.of(task.kind)
        own = objective.hard_negatives and not graded
        negatives = [self._negatives(step, i, example) if own else [] for i, example in enumerate(examples)]
        positives = [example.positive for example in examples]
        documents = list(dict.fromkeys([*positives, *(document for own in negatives for document, _ in own)]))
        query_texts = [self.data.query_text[example.query] for example in examples]
        document_texts = [self.data.document_text[document] for document in documents]
        return Batch(
            step=step,
            task=task,
            objective=objective,
            graded=graded,
            examples=examples,
            query_texts=query_texts,
            documents=documents,
            document_texts=document_texts,
            shots=self._shots(step, name, {*query_texts, *document_texts}, len(examples)),
            targets=self._targets(examples, negatives, documents, query_texts, document_texts),
            grades=torch.tensor([self._grade(example) for example in examples]),
        )

    def shot_number(self, step: int, chunk: int) -> int:
        """Number of shots for the `chunk`-th run of `share` queries: uniform over {0..max}."""
        return self._shot_draw(step, chunk)[1]

    def _shot_draw(self, step: int, chunk: int) -> tuple[np.random.Generator, int]:
        """(generator to pick the shots with, number of shots)."""
        draw = random(self.seed, _SHOTS, step, chunk)
        return draw, int(draw.integers(0, self.params.shots.max + 1))

    def _schedule(self) -> list[tuple[str, int]]:
        """(task, how often it was drawn before) for every step."""
        draw = random(self.seed, _SCHEDULE)
        turns = dict.fromkeys(self._names, 0)
        plan = []
        for step in range(self.params.steps):
            names = self._in_phase(step / self.params.steps)
            sizes = np.array([len(self.data.examples[name]) for name in names], dtype=float)
            weights = np.array([self.data.tasks[name].weight for name in names]) * sizes**self.params.alpha
            name = names[int(draw.choice(len(names), p=weights / weights.sum()))]
            plan.append((name, turns[name]))
            turns[name] += 1
        return plan

    def _is_graded(self, name: str) -> bool:
        """Whether the task's loss is CoSENT: an sts task whose pairs have more than one grade."""
        objective = self.params.objectives.of(self.data.tasks[name].kind)
        grades = {self._grade(example) for example in self.data.examples[name]}
        return isinstance(objective, GradedObjective) and objective.cosent and len(grades) > 1

    def _refuse_tasks_without_negatives(self) -> None:
        """A task whose loss has neither in-batch negatives nor soft labels learns from hard negatives alone."""
        for name in self._names:
            kind = self.data.tasks[name].kind
            objective = self.params.objectives.of(kind)
            soft = objective.in_batch_distillation and self.params.distillation.in_batch
            if self._graded[name] or objective.in_batch_negatives or soft:
                continue
            if not self.params.negatives or not any(example.negatives for example in self.data.examples[name]):
                raise UserError(
                    f"train: task {name}: {kind} learns from hard negatives alone, and it has none; "
                    f"set train.negatives above 0, or train.objectives.{kind}.in_batch_negatives: true"
                )

    def _refuse_pairs_that_are_no_positives(self) -> None:
        """Only CoSENT can use a pair of grade 0 or less: every other loss would pull its texts together."""
        for name in self._names:
            least = min(map(self._grade, self.data.examples[name]))
            if least <= 0 and not self._graded[name]:
                raise UserError(
                    f"train: task {name}: has pairs of grade {least:g} and no CoSENT to rank them; set "
                    f"train.objectives.sts.cosent: true, or prepare.tasks.{name}.positive_score above 0"
                )

    def _grade(self, example: Example) -> float:
        return self.data.grades.get((example.query, example.positive), 1.0)

    def _in_phase(self, done: float) -> list[str]:
        end = 0.0
        for phase in self.params.phases:
            end += phase.fraction
            if done < end - 1e-9:
                return [name for name in self._names if self.data.tasks[name].kind in phase.kinds] or self._names
        return self._names

    def _draw(self, name: str, turn: int) -> list[Example]:
        pool = self.data.examples[name]
        size = min(self.params.batch_queries, len(pool))
        per_epoch = len(pool) // size
        epoch, place = divmod(turn, per_epoch)
        order = random(self.seed, _ORDER, self._names.index(name), epoch).permutation(len(pool))
        return [pool[int(i)] for i in order[place * size : (place + 1) * size]]

    def _negatives(self, step: int, i: int, example: Example) -> list[tuple[int, float]]:
        """Draw `train.negatives` of the mined negatives, new at each step; all of them if there are fewer.

        By teacher score: the largest score / T plus Gumbel noise, which draws without replacement from
        softmax(score / T) (Kool et al., arXiv 1903.06059).
        """
        mined = list(zip(example.negatives, example.negative_scores, strict=True))
        if len(mined) <= self.params.negatives:
            return mined
        draw = random(self.seed, _NEGATIVES, step, i)
        if self.params.negative_sampling == "teacher_score":
            scores = np.array(example.negative_scores) / self.params.distillation.teacher_temperature
            chosen = np.argsort(-(scores + draw.gumbel(size=len(scores))))[: self.params.negatives]
        else:
            chosen = draw.choice(len(mined), self.params.negatives, replace=False)
        return [mined[int(j)] for j in np.sort(chosen)]

    def _shots(self, step: int, name: str, in_batch: set[str], queries: int) -> list[list[Shot]]:
        """A few-shot set for each run of `share` queries, without any text of the batch."""
        pool = self.data.examples[name]
        sets = []
        for chunk in range(-(-queries // self.params.shots.share)):
            draw, wanted = self._shot_draw(step, chunk)
            shots: list[Shot] = []
            most = 4 * (wanted + len(in_batch)) if wanted else 0
            for i in itertools.islice(in_random_order(draw, len(pool)), most):
                query = self.data.query_text[pool[i].query]
                response = self.data.document_text[pool[i].positive]
                if query not in in_batch and response not in in_batch:
                    shots.append(Shot(query, response))
                    if len(shots) == wanted:
                        break
            sets.append(shots)
        return sets

    def _targets(
        self,
        examples: list[Example],
        negatives: Sequence[Sequence[tuple[int, float]]],
        documents: list[int],
        query_texts: list[str],
        document_texts: list[str],
    ) -> Targets:
        place = {document: j for j, document in enumerate(documents)}
        width = 1 + max((len(own) for own in negatives), default=0)
        group = torch.full((len(examples), width), -1, dtype=torch.int64)
        teacher = torch.zeros(len(examples), width)
        relevant = torch.zeros(len(examples), len(documents), dtype=torch.bool)
        for i, (example, own) in enumerate(zip(examples, negatives, strict=True)):
            for g, (document, score) in enumerate([(example.positive, example.positive_score), *own]):
                group[i, g], teacher[i, g] = place[document], score
            for document in self.data.relevant.get(example.query, ()):
                if document in place:
                    relevant[i, place[document]] = True
            label = self.data.query_label[example.query]
            if label is not None:
                relevant[i] |= torch.tensor([self.data.document_label[document] == label for document in documents])
        return make_targets(group, teacher, relevant, query_texts, document_texts)
