"""Parameters of `retrieve` and `score`: who finds candidates, and who judges them."""

from typing import Literal

from pydantic import Field, model_validator

from components.config.engine import EngineParams
from components.config.pair_model import PairModelParams
from components.config.types import FileName, Fraction, Params, Positive, PositiveFloat, PositiveFraction

StopWords = Literal[
    "none",
    "english",
    "chinese",
    "danish",
    "dutch",
    "french",
    "german",
    "italian",
    "korean",
    "norwegian",
    "portuguese",
    "russian",
    "spanish",
    "swedish",
    "turkish",
]
FUSION_WEIGHT = "weight of this retriever in the fusion"


class Bm25Params(Params):
    """Lexical retrieval."""

    k1: PositiveFloat = Field(default=1.5, description="how much repeated words count")
    b: Fraction = Field(default=0.75, description="how much long documents are penalised: 0 not at all, 1 fully")
    weight: PositiveFloat = Field(default=1.0, description=FUSION_WEIGHT)
    tokenizer: Literal["scripts", "spaces"] = Field(
        default="scripts",
        description="scripts: in scripts without spaces (Chinese, Japanese, Thai, ...) each two neighbouring letters "
        "are a word; spaces: words are between spaces and punctuation only, for texts that are segmented already",
    )
    stop_words: StopWords = Field(default="english", description="words left out: the list of this language, or none")


class DenseTeacherParams(Params):
    """A sentence-transformers model that retrieves, by its name in fetch.models."""

    query_prompt: str = Field(default="", description="put before every query")
    document_prompt: str = Field(default="", description="put before every document")
    task_prompts: bool = Field(
        default=False, description="an export of ours: take its own prompt of each task instead of the two above"
    )
    max_tokens: Positive | None = Field(default=None, description="cut texts to this; the model's own limit when empty")
    token_vectors: bool = Field(default=False, description="keep token vectors too, for score.reranker: maxsim")
    weight: PositiveFloat = Field(default=1.0, description=FUSION_WEIGHT)

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> "DenseTeacherParams":
        if self.task_prompts and (self.query_prompt or self.document_prompt):
            raise ValueError("task_prompts takes the model's own prompts; remove query_prompt and document_prompt")
        return self


class IndexParams(Params):
    """How dense vectors are searched. Approximate kinds report their recall against the exact one."""

    kind: Literal["exact", "ivf", "hnsw", "cagra"] = Field(
        default="exact", description="ivf, hnsw: approximate (FAISS); cagra: approximate, on a GPU with cuVS"
    )
    lists: Positive | None = Field(
        default=None, description="ivf: inverted lists; square root of the corpus when empty"
    )
    probes: Positive = Field(default=32, description="ivf: lists searched per query")
    links: Positive = Field(default=32, description="hnsw: neighbours per node")
    effort: Positive = Field(default=128, description="hnsw: nodes kept while building and searching")


class RetrieveParams(Params):
    """Candidates of every query: BM25 and dense teachers, fused to one ranking."""

    depth: Positive = Field(description="candidates kept per query and retriever")
    fusion: Literal["rrf", "z_score"] = Field(
        default="rrf", description="rrf: weighted reciprocal ranks; z_score: weighted standardised scores"
    )
    rrf_k: Positive = Field(default=60, description="rrf: a candidate gets 1 / (rrf_k + rank)")
    bm25: Bm25Params | None = Field(default=Bm25Params(), description="null: no lexical retrieval")
    dense: dict[FileName, DenseTeacherParams] = Field(description="dense teachers; names of fetch.models")
    index: IndexParams = IndexParams()
    keep_vectors: list[str] = Field(
        default=[], description="dense teachers whose vectors become an output, for train.distillation.in_batch"
    )
    engine: EngineParams = EngineParams()


class SecondTeacherParams(PairModelParams):
    """A second teacher, from other weights: its scores are fused with the reranker's."""

    weight: PositiveFraction = Field(
        default=0.2, description="share of its score, on the reranker's scale, in the fused score"
    )


class ScoreParams(Params):
    """The teacher's score of every candidate, and its calibration to a probability of relevance."""

    reranker: Literal["maxsim", "cross_encoder", "llm"] = Field(
        description="maxsim: late interaction over token vectors; cross_encoder, llm: a model that reads both texts"
    )
    model: FileName = Field(default="dense_teacher", description="in fetch.models; maxsim: one of retrieve.dense")
    instruction: str = Field(
        default="Given a query, retrieve documents that answer it", description="what an llm reranker judges"
    )
    dense_weight: Fraction = Field(default=0.5, description="share of the dense score in the fused maxsim score")
    second: SecondTeacherParams | None = Field(default=None, description="null: one teacher")
    max_tokens: Positive = Field(default=512, description="a pair is cut to this (not maxsim)")
    token_budget: Positive = Field(default=2048, description="tokens in one forward pass (not maxsim)")
    queries: Literal["drawn", "all"] = Field(
        default="drawn",
        description="whose candidates are scored. drawn: dev queries, and those that train will draw in its steps",
    )
    source_scores: Literal["use", "ignore"] = Field(
        default="use",
        description="teacher scores that a source brings along (pos_scores, neg_scores): mapped to the reranker's "
        "scale and used in place of its own, where both rank a sample alike",
    )
    calibration: Literal["temperature", "platt", "isotonic"] = Field(
        default="platt", description="the curve from score to probability, fitted on each task's dev queries"
    )
    engine: EngineParams = EngineParams()
