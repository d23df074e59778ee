"""The whole of params.yaml, one section a stage, and the checks that need more than one section.

Every section carries the name of the stage that reads it; `prompt` and `encoder` are shared by several.
"""

from collections.abc import Iterator

from pydantic import Field, model_validator

from components.config.benchmark_tasks import benchmark_tasks, serving_tasks
from components.config.evaluation import EvaluateParams
from components.config.fetch import FetchParams
from components.config.fewshot import SelectShotsParams
from components.config.mining import LOGIT_RERANKERS, MineParams
from components.config.model import EncoderParams, PromptParams
from components.config.prepare import PrepareParams
from components.config.registration import RegisterParams
from components.config.retrieval import RetrieveParams, ScoreParams
from components.config.schedule import ScheduleParams
from components.config.training import TrainParams
from components.config.types import Count, Params

CUT_LENGTHS = ("query_tokens", "document_tokens")  # of `prompt`; `train` may have shorter ones


class Config(Params):
    """The whole of params.yaml."""

    seed: int = Field(description="of every random draw: the same seed gives the same bytes")
    threads: Count = Field(description="CPU threads; 0 = every core that the process may use")
    fetch: FetchParams
    prepare: PrepareParams
    prompt: PromptParams
    encoder: EncoderParams
    retrieve: RetrieveParams
    score: ScoreParams
    mine: MineParams
    train: TrainParams
    select_shots: SelectShotsParams
    evaluate: EvaluateParams
    register_: RegisterParams = Field(alias="register")

    @property
    def training_prompt(self) -> PromptParams:
        """`prompt` with the lengths that training cuts to."""
        own = {name: getattr(self.train, name) for name in CUT_LENGTHS}
        return self.prompt.model_copy(update={name: length for name, length in own.items() if length})

    @property
    def schedule(self) -> ScheduleParams:
        """The keys of `train` that a stage before training may read: another key there would make DVC run it again."""
        return ScheduleParams(**{name: getattr(self.train, name) for name in ScheduleParams.model_fields})

    @property
    def shots_tried(self) -> int:
        """Most shots that select_shots tries."""
        stated = self.select_shots.max_shots
        return self.train.shots.max if stated is None else stated

    @model_validator(mode="after")
    def _sections_fit(self) -> "Config":
        wrong = [
            *_training_longer_than_use(self),
            *_tasks_without_source(self),
            *_teachers_without_vectors(self),
            *_adapter_that_is_not_fetched(self),
            *_phases_without_a_task(self),
            *_mining_rules_without_effect(self),
            *_examples_that_score_cannot_count(self),
            *_judges_that_made_the_candidates(self),
            *_held_out_by_prepare(self),
            *_shots_without_use(self),
        ]
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


def _training_longer_than_use(whole: Config) -> Iterator[str]:
    for name in CUT_LENGTHS:
        trained, used = getattr(whole.train, name), getattr(whole.prompt, name)
        if trained and trained > used:
            yield f"train.{name}: {trained} is over prompt.{name}: {used}, which cuts every text in use; lower it"


def _tasks_without_source(whole: Config) -> Iterator[str]:
    known = ", ".join(whole.fetch.sources)
    for name, task in whole.prepare.tasks.items():
        if task.source not in whole.fetch.sources:
            yield f"prepare.tasks.{name}.source: unknown source {task.source!r}; fetch.sources has {known}"


def _teachers_without_vectors(whole: Config) -> Iterator[str]:
    known = ", ".join(whole.retrieve.dense)
    for name in whole.retrieve.keep_vectors:
        if name not in whole.retrieve.dense:
            yield f"retrieve.keep_vectors: {name!r} is no dense teacher; retrieve.dense has {known}"
    readers = {"distillation.in_batch": whole.train.distillation.in_batch, "guide": whole.train.guide}
    for key, section in readers.items():
        if section and section.teacher not in whole.retrieve.keep_vectors:
            yield f"train.{key}.teacher: add {section.teacher!r} to retrieve.keep_vectors"


def _adapter_that_is_not_fetched(whole: Config) -> Iterator[str]:
    name = whole.train.init_adapter
    if name and (name not in whole.fetch.models or whole.fetch.models[name].format != "adapter"):
        yield f"train.init_adapter: {name!r} is no adapter of fetch.models; declare it there with format: adapter"


def _phases_without_a_task(whole: Config) -> Iterator[str]:
    trained = sorted({task.kind for task in whole.prepare.tasks.values() if task.train})
    for number, phase in enumerate(whole.train.phases):
        if not set(phase.kinds) & set(trained):
            yield (
                f"train.phases.{number}.kinds: no training task is of kind {' or '.join(phase.kinds)}, so the phase "
                f"would draw from all; there are {', '.join(trained)}"
            )


def _mining_rules_without_effect(whole: Config) -> Iterator[str]:
    mine, reranker = whole.mine, whole.score.reranker
    scale = mine.scale(reranker)
    if scale == "probability" and reranker not in LOGIT_RERANKERS:
        yield (
            f"mine.margin_on: probability is the sigmoid of a logit, and score.reranker: {reranker} gives cosines; "
            "take raw or relevance"
        )
    limits = (("max_score", 0.0 < (mine.max_score or 0.0) <= 1.0), ("min_score", 0.0 <= (mine.min_score or 0.0) < 1.0))
    for name, possible in (*limits, ("absolute_margin", (mine.absolute_margin or 0.0) < 1.0)):
        value = getattr(mine, name)
        if scale != "raw" and value is not None and not possible:
            yield f"mine.{name}: {value:g} keeps no candidate or every one: mine.margin_on is {scale}, from 0 to 1"
    most = whole.retrieve.depth * (len(whole.retrieve.dense) + (whole.retrieve.bm25 is not None))
    if mine.first_rank > most:
        yield (
            f"mine.first_rank: {mine.first_rank} excludes every candidate; a query has at most {most} "
            "(retrieve.depth times the retrievers)"
        )


def _examples_that_score_cannot_count(whole: Config) -> Iterator[str]:
    mine = whole.mine
    changes = {
        "false_negatives": mine.false_negatives == "relabel",
        "suspicious_action": mine.suspicious_action == "drop",
    }
    for name, value in ((name, getattr(mine, name)) for name, changed in changes.items() if changed):
        if whole.score.queries == "drawn":
            yield (
                f"score.queries: drawn needs the number of examples before mining, and mine.{name}: {value} changes "
                "it; set score.queries: all"
            )


def _judges_that_made_the_candidates(whole: Config) -> Iterator[str]:
    """A judge and a second teacher are models of their own."""
    makers = {**dict.fromkeys(whole.retrieve.dense, "retrieve.dense"), whole.score.model: "score.model"}
    for key, params in (("score.second", whole.score.second), ("mine.judge", whole.mine.judge)):
        if params is None:
            continue
        if params.model in makers:
            yield (
                f"{key}.model: {params.model!r} made the candidates or their scores ({makers[params.model]}); "
                "name another model of fetch.models"
            )
        if params.model not in whole.fetch.models:
            yield f"{key}.model: unknown model {params.model!r}; fetch.models has {', '.join(whole.fetch.models)}"
        makers.setdefault(params.model, f"{key}.model")


def _held_out_by_prepare(whole: Config) -> Iterator[str]:
    for name in whole.evaluate.held_out:
        if name not in whole.prepare.tasks or not whole.prepare.tasks[name].test:
            yield f"evaluate.held_out: {name}: prepare holds nothing out for it; set prepare.tasks.{name}.test"


def _shots_without_use(whole: Config) -> Iterator[str]:
    drawn = whole.train.shots.max
    serving = serving_tasks({name: task.in_domain for name, task in whole.prepare.tasks.items() if task.train})
    if whole.shots_tried > drawn:
        yield f"select_shots.max_shots: {whole.shots_tried} is over train.shots.max: {drawn}, the most in training"
    for name in whole.evaluate.shots:
        if name in serving:
            yield (
                f"evaluate.shots.{name}: {name} gets the shots chosen for training task {serving[name]}, which serves "
                "it; remove these, or take it out of in_domain"
            )
    benchmark, held_out = whole.evaluate.benchmark, {name for name, task in whole.prepare.tasks.items() if task.test}
    evaluated = {"starter": held_out, "MTEB(eng, v2)": {*benchmark_tasks(), *whole.evaluate.held_out}}.get(benchmark)
    if whole.shots_tried and serving and evaluated and not evaluated & set(serving):
        yield (
            f"select_shots.max_shots: {whole.shots_tried}, but no shots would reach evaluate.benchmark: {benchmark!r}; "
            "name the benchmark tasks that training serves in prepare.tasks.<task>.in_domain, or set max_shots: 0"
        )
