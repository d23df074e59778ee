"""Parameters `prompt` and `encoder`: shared by training, selection, evaluation and serving, so they cannot differ."""

from typing import Literal

from pydantic import Field, model_validator

from components.config.types import Params, Positive


class PromptParams(Params):
    """How a text becomes token ids. Lengths in tokens; bge-en-icl's values are 512 / 256 / 1536 / 512.

    They hold wherever a text is embedded; training may cut queries and documents shorter (train.query_tokens).
    """

    template: Literal["special", "plain"] = Field(
        description="special: bge-en-icl's <instruct>, <query>, <response> as added tokens; plain: the same in words"
    )
    query_tokens: Positive = Field(
        default=512,
        description="a query is cut to this in training; elsewhere with its prefix to prefix_tokens + query_tokens",
    )
    example_tokens: Positive = Field(default=256, description="each side of a few-shot example is cut to this")
    prefix_tokens: Positive = Field(default=1536, description="most tokens of instruction and shots; more is an error")
    document_tokens: Positive = Field(default=512, description="a document is cut to this, bos and eos included")


class EncoderParams(Params):
    """How token ids become vectors."""

    pooling: Literal["last", "mean"] = Field(
        default="last", description="last: the hidden state of the end token; mean: of all tokens of the text"
    )
    attention: Literal["causal", "bidirectional"] = Field(
        default="causal", description="bidirectional: every token sees the whole text; goes with pooling: mean"
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="of weights and activations")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    token_budget: Positive = Field(default=4096, description="tokens in one forward pass")

    @model_validator(mode="after")
    def _shared_prefix_needs_causal(self) -> "EncoderParams":
        if self.attention == "bidirectional" and self.pooling == "last":
            raise ValueError("bidirectional attention goes with mean pooling; set pooling: mean")
        return self
