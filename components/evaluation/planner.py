"""The plan of an evaluation: every text that it must embed, known before anything is embedded.

mteb's tasks ask for vectors one after another, with every duplicate. Reading the data first gives the whole job: each
distinct text once per way it is prompted. Tasks are sorted by the work they cause, most first; a task's part is what no
earlier task has brought, cut into shards of texts of similar length. Batches are full, several devices
finish together, a task can be scored while the next ones are embedded, and a killed run loses at most the shards in
flight (each one is a single `put` into the vector store).

    plan = plan_embedding(makers, prompts, lengths)        # reads data sets, embeds nothing
    embed_plan(plan, source, engine, "embed", update, ready)

Texts missing from the plan are embedded when scoring asks for them.
"""

import copy
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskMultilabelClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.abstask import AbsTask
from mteb.abstasks.text.summarization import AbsTaskSummarization
from mteb.types import PromptType

from components.base.progress import progress
from components.benchmark.mindsmall import Impressions
from components.benchmark.ranking import Corpus, query_texts
from components.config import EngineParams
from components.contracts.shots import TaskPrompt
from components.model.embed_shard import Shard, Way, embed_shard
from components.model.load_once import ModelSource
from components.stage.executor import each_shard

Counted = dict[str, int]  # text -> how often mteb would embed it
COUNTS = ("plain", "distinct", "shared_prefix")  # see Lengths.cost
TOKENIZED = 1 << 12  # texts whose token ids are in memory at once


@dataclass
class TaskPlan:
    """One task's part: `texts` by way, without those that a task before it brings; `cost` is of the task alone."""

    name: str
    make: Callable[[], AbsTask]
    texts: dict[Way, list[str]]
    cost: dict[str, int]

    def shards(self, size: int) -> list[Shard]:
        """At most `size` texts each, longest texts first."""
        longest_first = ((way, sorted(texts, key=lambda text: (-len(text), text))) for way, texts in self.texts.items())
        return [part for way, texts in longest_first for part in Shard(way, texts).parts(size)]


@dataclass
class EmbeddingPlan:
    """All tasks, those with most to embed first."""

    tasks: list[TaskPlan]

    @property
    def texts(self) -> int:
        """Distinct texts to embed."""
        return sum(len(texts) for task in self.tasks for texts in task.texts.values())


def plan_embedding(
    makers: Mapping[str, Callable[[], AbsTask]], prompts: Mapping[str, TaskPrompt], lengths: "Lengths"
) -> EmbeddingPlan:
    """Read every task's data, count its tokens and gather what it will embed. `makers` are by task name."""
    found: list[TaskPlan] = []
    for name, make in progress(list(makers.items()), "read tasks", unit="task"):
        task = make()
        task.load_data()
        texts = task_texts(task, prompts[name])
        cost = dict.fromkeys(COUNTS, 0)
        for way, counted in texts.items():
            for what, tokens in lengths.cost(way, counted).items():
                cost[what] += tokens
        found.append(TaskPlan(name, make, {way: list(counted) for way, counted in texts.items()}, cost))
        task.unload_data()
    found.sort(key=lambda one: (-one.cost["shared_prefix"], one.name))
    seen: dict[Way, set[str]] = {}
    for one in found:
        for way, own in one.texts.items():
            known = seen.setdefault(way, set())
            one.texts[way] = [text for text in own if text not in known]
            known.update(own)
    return EmbeddingPlan(found)


def embed_plan(
    plan: EmbeddingPlan,
    source: ModelSource,
    engine: EngineParams,
    what: str,
    update: Callable[[int], Any],
    ready: Callable[[TaskPlan], Any],
) -> None:
    """Embed the plan into the store, in shards.

    Args:
        update: called with the number of texts of every shard that is embedded.
        ready: called with every task, in order, once its texts and those of all tasks before it are in the store.

    Raises:
        UserError: see `each_shard`. Finished shards are in the store: a rerun continues.
    """
    shards = [(number, shard) for number, task in enumerate(plan.tasks) for shard in task.shards(engine.shard)]
    missing = Counter(number for number, _ in shards)
    waiting = deque(enumerate(plan.tasks))

    def hand_over() -> None:
        while waiting and not missing[waiting[0][0]]:
            ready(waiting.popleft()[1])

    def done(place: int) -> None:
        number, shard = shards[place]
        missing[number] -= 1
        update(len(shard.texts))
        hand_over()

    hand_over()  # tasks that need no text of their own
    each_shard(embed_shard, [(source, shard) for _, shard in shards], what, engine, None, done)


def task_texts(task: AbsTask, prompt: TaskPrompt) -> dict[Way, Counted]:
    """The texts a loaded task will embed, by way; empty for a task class this module does not know."""
    found: dict[Way, Counted] = {}
    for side, texts in _asked(task):
        document = side == PromptType.document
        if document and not prompt.symmetric:
            way = Way(document=True)
        else:
            way = Way(False, prompt.instruction, () if document else prompt.shots)
        counted = found.setdefault(way, {})
        for text in texts:
            counted[text] = counted.get(text, 0) + 1
    return found


def _asked(task: AbsTask) -> Iterator[tuple[PromptType | None, Sequence[str]]]:
    """(side, texts) of every call of `encode` that mteb's classes make."""
    for split in task.eval_splits:
        for subset in task.hf_subsets:
            loaded: Any = task.dataset
            yield from _asked_of(task, loaded.get(subset, loaded), split)


def _asked_of(task: AbsTask, parts: Any, split: str) -> Iterator[tuple[PromptType | None, Sequence[str]]]:
    rows = parts[split]
    if isinstance(rows, Impressions):
        yield PromptType.document, rows.corpus.texts.texts
        yield PromptType.query, rows.queries.texts
    elif isinstance(task, AbsTaskRetrieval):
        corpus = Corpus.of(rows["corpus"])
        yield PromptType.document, [corpus.texts.texts[i] for i in corpus.texts.place]
        asked = zip(rows["queries"]["id"], query_texts(rows["queries"]), strict=True)
        yield PromptType.query, [text for name, text in asked if rows["relevant_docs"].get(name)]
    elif isinstance(task, AbsTaskClassification) and not isinstance(task, AbsTaskMultilabelClassification):
        column = str(task.input_column_name)
        train = parts[task.train_split]
        yield None, [train[column][i] for i in _fitted_on(task, train)]
        yield None, list(rows[column])
    elif isinstance(task, AbsTaskClustering):
        yield None, [rows[str(task.input_column_name)][i] for i in _clustered(task, len(rows))]
    elif isinstance(task, AbsTaskSTS):
        yield task.input1_prompt_type, list(rows[str(task.column_names[0])])
        yield task.input2_prompt_type, list(rows[str(task.column_names[1])])
    elif isinstance(task, AbsTaskPairClassification):
        pairs = rows[0] if len(rows) == 1 else rows  # older data sets hold all pairs in one row of lists
        yield task.input1_prompt_type, list(pairs[str(task.input1_column_name)])
        yield task.input2_prompt_type, list(pairs[str(task.input2_column_name)])
    elif isinstance(task, AbsTaskSummarization):
        for column in (task.human_summaries_column_name, task.machine_summaries_column_name):
            yield None, [text for row in rows[column] for text in row]


def _fitted_on(task: AbsTaskClassification, train: Any) -> list[int]:
    """Rows of the train split that any of mteb's undersamplings takes."""
    order: list[int] | None = None
    chosen: set[int] = set()
    for experiment in range(task.n_experiments):
        _, order, picked = task._undersample_data(train, experiment, order)
        chosen.update(picked)
    return sorted(chosen)


def _clustered(task: AbsTaskClustering, size: int) -> Sequence[int]:
    """Rows that mteb samples, drawn from a copy of the task's own generator."""
    if task.max_fraction_of_documents_to_embed is not None:
        wanted = int(task.max_fraction_of_documents_to_embed * size)
    elif task.max_document_to_embed is not None:
        wanted = task.max_document_to_embed
    else:
        return range(size)
    return copy.deepcopy(task.rng_state).sample(range(size), k=min(size, wanted))


class Lengths:
    """Token counts with one `components.model.prompt.Prompt` (or a sentence model's): what a text costs in each way."""

    def __init__(self, prompt: Any) -> None:
        self.prompt = prompt

    def cost(self, way: Way, texts: Counted) -> dict[str, int]:
        """Tokens of one task's texts in one way.

        plain: every text with its own prefix, duplicates too. distinct: each distinct text with its own prefix.
        shared: each distinct text, and the prefix once.
        """
        prefix = [] if way.document else self.prompt.prefix_ids(way.instruction, way.shots)
        unique = list(texts)
        own: list[int] = []
        for start in range(0, len(unique), TOKENIZED):  # ids take many times the memory of their texts
            part = unique[start : start + TOKENIZED]
            ids = self.prompt.document_ids(part) if way.document else self.prompt.query_ids(part, len(prefix))
            own += map(len, ids)
        times = list(texts.values())
        return {
            "plain": sum((len(prefix) + n) * k for n, k in zip(own, times, strict=True)),
            "distinct": sum(own) + len(prefix) * len(own),
            "shared_prefix": sum(own) + len(prefix),
        }
