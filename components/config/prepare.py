"""Parameters of `prepare`: the tasks, what is held out of each, and what is removed from training."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.types import (
    Count,
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
    instruction: Name = Field(description="put before every query, as the prompt's template says")
    symmetric: bool = Field(
        default=False, description="both sides are queries: prompt on documents too, no shots there"
    )
    positives: Literal["document", "label", "example"] = Field(
        default="document",
        description="what a query's positive is: its document, its label's text, or another example of its label",
    )
    train: Count = Field(default=0, description="queries kept for training; 0 = an evaluation-only task")
    dev: Count = Field(default=0, description="queries held out to choose shots on")
    test: Count = Field(default=0, description="queries (or texts, or pairs) held out for evaluation")
    dev_documents: Count = Field(default=0, description="retrieval: least documents that dev queries are ranked over")
    test_documents: Count = Field(default=0, description="retrieval: least documents that test queries are ranked over")
    fit: Count = Field(default=0, description="classification: texts that the evaluation fits its classifier on")
    max_words: Positive | None = Field(default=None, description="cut longer texts; none are cut when empty")
    positive_score: float | None = Field(
        default=None,
        description="sts and pair_classification: score from which on a pair is trained on; sts: all pairs when empty",
    )
    weight: PositiveFloat = Field(
        default=1.0, description="how often training draws the task: weight * size^train.alpha"
    )
    in_domain: list[Name] = Field(
        default=[],
        description="mteb tasks whose own training (or test) data this is; listed in the manifest",
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> "TaskParams":
        if self.positives != "document" and self.kind not in ("classification", "clustering"):
            raise ValueError(f"positives: {self.positives} needs labels, and {self.kind} has none; set document")
        refuse_settings_without_effect(self, _TASK_SETTINGS, self.kind)
        return self


_TASK_SETTINGS = {
    "dev_documents": ("retrieval",),
    "test_documents": ("retrieval",),
    "fit": ("classification",),
    "positive_score": ("sts", "pair_classification"),
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

    tasks: dict[str, TaskParams] = Field(description="tasks by name")
    decontaminate: DecontaminateParams = DecontaminateParams()

    @field_validator("tasks", mode="before")
    @classmethod
    def _source_is_named_like_the_task(cls, tasks: Any) -> Any:
        if not isinstance(tasks, dict):
            return tasks
        return {name: {"source": str(name), **task} if isinstance(task, dict) else task for name, task in tasks.items()}
