"""Parameters of `prepare`: the tasks, what is held out of each, and what is removed from training."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.benchmark_tasks import benchmark_tasks, fill_from_benchmark
from components.config.types import (
    Count,
    FileName,
    Name,
    Params,
    Positive,
    PositiveFloat,
    PositiveFraction,
    TaskKind,
    refuse_settings_without_effect,
)


class TaskParams(Params):
    """One task: how rows of a source become queries, documents and relevance, and what is held out."""

    source: str = Field(default="", description="a name in fetch.sources; the task's own name when left out")
    kind: TaskKind = Field(description="what is asked of the vectors, one of MTEB's categories")
    instruction: Name = Field(
        description="put before every query, as the prompt's template says; where it is left out, that of the "
        "benchmark tasks in in_domain (components/config/benchmark_tasks.yaml) if they have the same"
    )
    paraphrases: list[Name] = Field(
        default=[],
        description="other wordings of the instruction: each training step draws one of all; evaluation and the "
        "registered model use the instruction",
    )
    symmetric: bool = Field(
        default=False,
        description="both sides are queries: prompt on documents too, no shots there; where it is left out, as the "
        "benchmark tasks in in_domain",
    )
    positives: Literal["document", "label", "example"] = Field(
        default="document",
        description="what a query's positive is: its document, its label's text, or another example of its label",
    )
    train: Count = Field(
        default=0,
        description="queries kept for training; 0 = an evaluation-only task. A source with fewer queries than train, "
        "dev and test ask for gives each a share (docs/recipe.md)",
    )
    dev: Count = Field(default=0, description="queries held out to choose shots on")
    test: Count = Field(default=0, description="queries (or texts, or pairs) held out for evaluation")
    dev_documents: Count = Field(default=0, description="retrieval: least documents that dev queries are ranked over")
    test_documents: Count = Field(default=0, description="retrieval: least documents that test queries are ranked over")
    fit: Count = Field(default=0, description="classification: texts that the evaluation fits its classifier on")
    max_words: Positive | None = Field(
        default=None,
        description="cut longer texts; a letter of a script without spaces (Chinese, Thai, ...) counts as a word",
    )
    positive_score: float | None = Field(
        default=None,
        description="grade from which on a document is an answer, or a pair is trained on; when empty: above 0, in sts "
        "all pairs",
    )
    weight: PositiveFloat = Field(
        default=1.0, description="how often training draws the task: weight * size^train.alpha"
    )
    in_domain: list[Name] = Field(
        default=[],
        description="benchmark tasks that this task serves, as their training (or test) data: they are evaluated with "
        "its instruction, symmetric and chosen shots, and listed in the manifest",
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> "TaskParams":
        if self.positives != "document" and self.kind not in ("classification", "clustering"):
            raise ValueError(f"positives: {self.positives} needs labels, and {self.kind} has none; set document")
        refuse_settings_without_effect(self, _TASK_SETTINGS, self.kind)
        if self.paraphrases and not self.train:
            raise ValueError("paraphrases have no effect with train: 0; remove them, or set train above 0")
        return self


_TASK_SETTINGS = {
    "dev_documents": ("retrieval",),
    "test_documents": ("retrieval",),
    "fit": ("classification",),
    "positive_score": ("retrieval", "reranking", "sts", "pair_classification"),
}


class DecontaminateParams(Params):
    """When a training text counts as a copy of an evaluation text; see components/data/decontaminate.py."""

    benchmark: str | None = Field(
        default=None, description="an mteb benchmark whose test texts training must not hold, beside the held-out ones"
    )
    threshold: PositiveFraction = Field(default=0.7, description="overlap of word trigrams that makes a copy")
    containment: PositiveFraction = Field(
        default=0.7, description="share of an evaluation text's word trigrams in a training text that makes a quote"
    )


class PrepareParams(Params):
    """Tasks made of the sources, and the removal of training texts that evaluation holds."""

    tasks: dict[FileName, TaskParams] = Field(description="tasks by name")
    decontaminate: DecontaminateParams = DecontaminateParams()

    @field_validator("tasks", mode="before")
    @classmethod
    def _fill_defaults(cls, tasks: Any) -> Any:
        """The source is named like the task; see `fill_from_benchmark`."""
        if not isinstance(tasks, dict):
            return tasks
        return {
            name: {"source": str(name), **fill_from_benchmark(task)} if isinstance(task, dict) else task
            for name, task in tasks.items()
        }

    @field_validator("tasks")
    @classmethod
    def _served_alike(cls, tasks: dict[str, TaskParams]) -> dict[str, TaskParams]:
        wrong = list(_contradictions(tasks))
        if wrong:
            raise ValueError("\n".join(wrong))
        return tasks


def _contradictions(tasks: Mapping[str, TaskParams]) -> Iterator[str]:
    """One line for each benchmark task that two training tasks serve with different prompts."""
    first: dict[str, str] = {}
    for name, task in tasks.items():
        for served in task.in_domain if task.train else []:
            other = tasks[first.setdefault(served, name)]
            known = benchmark_tasks().get(served)
            two_sorts = known is None or known.symmetric is not None
            differing = [
                f"{field} {getattr(other, field)!r} and {getattr(task, field)!r}"
                for field in ("instruction", *(["symmetric"] if two_sorts else []))
                if getattr(other, field) != getattr(task, field)
            ]
            if differing:
                yield (
                    f"{first[served]} and {name} both serve {served} (in_domain), with {', '.join(differing)}; "
                    f"give both the same, or take {served} out of one's in_domain"
                )
