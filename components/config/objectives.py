"""Parameters of the loss by kind of task: which of its terms a kind has.

The defaults are bge-en-icl's (FlagEmbedding; arXiv 2409.15700): retrieval and reranking distil and use the whole
batch, classification and clustering use labels and each query's own negatives only. F2LLM, QZhou-Embedding
(arXiv 2508.21632) and CoDiEmb (arXiv 2508.11442) have an objective per kind too.
"""

from pydantic import Field, model_validator

from components.config.types import Params

_BATCH = "the documents of the batch's other queries are negatives"
_HARD = "the query's mined negatives are drawn and encoded"
_GROUP = "soft labels over the query's own group, as train.distillation weighs them"
_DENSE = "soft labels of a dense teacher, as train.distillation.in_batch weighs them"


class ObjectiveParams(Params):
    """Terms of the loss of pair_classification and summarization."""

    in_batch_negatives: bool = Field(default=True, description=_BATCH)
    hard_negatives: bool = Field(default=True, description=_HARD)
    distillation: bool = Field(default=False, description=_GROUP)
    in_batch_distillation: bool = Field(default=False, description=_DENSE)

    @model_validator(mode="after")
    def _there_is_something_to_learn(self) -> "ObjectiveParams":
        if not (self.in_batch_negatives or self.hard_negatives or self.in_batch_distillation):
            raise ValueError("no negatives and no soft labels teach nothing; switch one of them on")
        if self.distillation and not self.hard_negatives:
            raise ValueError("distillation compares the scores of hard negatives; set hard_negatives: true")
        return self


class RankingObjective(ObjectiveParams):
    """Terms of the loss of retrieval and reranking: the kinds that a teacher of relevance was trained for."""

    distillation: bool = Field(default=True, description=_GROUP)
    in_batch_distillation: bool = Field(default=True, description=_DENSE)


class LabelObjective(ObjectiveParams):
    """Terms of the loss of classification and clustering: another query's document may be of the same class."""

    in_batch_negatives: bool = Field(default=False, description=_BATCH)


class GradedObjective(ObjectiveParams):
    """Terms of the loss of sts. CoSENT replaces the others in a task whose pairs have more than one grade."""

    cosent: bool = Field(default=True, description="rank the pairs of a task with several grades by their own grades")


class ObjectivesParams(Params):
    """The loss of each kind of task; components/training/losses.py has the formulas."""

    retrieval: RankingObjective = RankingObjective()
    reranking: RankingObjective = RankingObjective()
    classification: LabelObjective = LabelObjective()
    clustering: LabelObjective = LabelObjective()
    pair_classification: ObjectiveParams = ObjectiveParams()
    sts: GradedObjective = GradedObjective()
    summarization: ObjectiveParams = ObjectiveParams()

    def of(self, kind: str) -> ObjectiveParams:
        """The objective of a kind of task (types.TaskKind)."""
        objective: ObjectiveParams = getattr(self, kind)
        return objective
