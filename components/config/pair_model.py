"""Parameters of a model that scores pairs of texts: a judge of candidates, a second teacher."""

from typing import Literal

from pydantic import Field

from components.config.types import Name, Params, Positive


class PairModelParams(Params):
    """A model that says how relevant a document is to a query."""

    reranker: Literal["cross_encoder", "llm", "dense", "sparse"] = Field(
        description="how the model scores: a logit for query and document read together (cross_encoder, llm), or the "
        "similarity of their vectors (dense; sparse: SPLADE)"
    )
    model: Name = Field(description="in fetch.models; not score.model and not one of retrieve.dense")
    instruction: str = Field(
        default="Given a query, retrieve documents that answer it", description="what an llm is asked"
    )
    max_tokens: Positive = Field(default=512, description="a pair (dense, sparse: a text) is cut to this")
    token_budget: Positive = Field(default=2048, description="tokens in one forward pass (cross_encoder, llm)")
