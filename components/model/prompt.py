"""From (shots, instruction, text) to token ids: the one place where a prompt is made.

The format is bge-en-icl's (FlagEmbedding, research/llm_dense_retriever), in two spellings:

    special   <instruct>{task}\\n<query>{q}\\n<response>{r}         three added tokens
    plain     Instruct: {task}\\nQuery: {q}\\nResponse: {r}         the same in words

    query     bos  example \\n\\n example \\n\\n <instruct>{task}\\n<query>  {q}\\n<response>  eos
              '------------------- prefix, shared by a task --------------'  '-- query ids --'
    document  bos  {p}  eos                                         never a prompt

The prefix ends at a point where tokenising prefix and query together or apart gives the same ids; that is asserted
for every text, so packed training, mteb evaluation and a served sentence-transformers model see the same ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.base.errors import UserError
from components.config import PromptParams
from components.contracts.shots import Shot

SPECIAL_TOKENS = ("<instruct>", "<query>", "<response>")


@dataclass(frozen=True)
class _Spelling:
    instruct: str
    query: str
    response: str
    gap: str  # between a marker and its text


_SPELLINGS = {
    "special": _Spelling("<instruct>", "<query>", "<response>", ""),
    "plain": _Spelling("Instruct:", "Query:", "Response:", " "),
}


class Prompt:
    """Makes token ids with one tokenizer and one set of `PromptParams`. `cut`: texts cut to their length so far."""

    def __init__(self, tokenizer: Any, params: PromptParams) -> None:
        self.tokenizer, self.params, self.cut = tokenizer, params, 0
        self._words = _SPELLINGS[params.template]
        self.bos, self.eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        if self.bos is None or self.eos is None:
            raise UserError("the student's tokenizer has no bos or no eos token; set both in its tokenizer_config.json")
        if params.template == "special":
            add_special_tokens(tokenizer)
        self._anchor = self._ids([self._words.query])[0]
        self._tail = self._ids([self._words.query + self._words.gap + "x" + self.tail_text])[0][-self._tail_length() :]

    @property
    def tail_text(self) -> str:
        """What follows a query's text, before eos."""
        return f"\n{self._words.response}"

    def prefix_text(self, instruction: str, shots: Sequence[Shot] = ()) -> str:
        """Everything before a query's text, as sentence-transformers' `prompts` want it (bos left out)."""
        words = self._words
        head = f"{words.instruct}{words.gap}{instruction.strip()}\n{words.query}"
        examples = [
            f"{head}{words.gap}{self.clip(shot.query)}{self.tail_text}{words.gap}{self.clip(shot.response)}\n\n"
            for shot in shots
        ]
        return "".join(examples) + head + words.gap

    def clip(self, text: str) -> str:
        """`text`, cut to `example_tokens` tokens: one side of a few-shot example."""
        text = text.strip()
        ids = self._ids([text])[0]
        if len(ids) <= self.params.example_tokens:
            return text
        return str(self.tokenizer.decode(ids[: self.params.example_tokens], skip_special_tokens=True)).strip()

    def prefix_ids(self, instruction: str, shots: Sequence[Shot] = ()) -> list[int]:
        """bos + examples + instruction, up to where the query's text begins.

        Raises:
            UserError: the prefix is longer than `prompt.prefix_tokens`.
        """
        ids = [self.bos, *self._ids([self.prefix_text(instruction, shots).rstrip(" ")])[0]]
        if len(ids) > self.params.prefix_tokens:
            raise UserError(
                f"prompt: {len(shots)} shots make a prefix of {len(ids)} tokens, over prompt.prefix_tokens = "
                f"{self.params.prefix_tokens}; use fewer or shorter shots"
            )
        return ids

    def query_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text, the ids after the prefix: text (cut to `query_tokens`), tail, eos."""
        head = self._words.query + self._words.gap
        joined = self._ids([head + text.strip() + self.tail_text for text in texts])
        result = []
        for ids, text in zip(joined, texts, strict=True):
            if ids[: len(self._anchor)] != self._anchor or ids[-len(self._tail) :] != self._tail:
                raise UserError(
                    f"prompt: the tokenizer merges {text[:60]!r} with the prompt around it; remove the text"
                )
            body = ids[len(self._anchor) : len(ids) - len(self._tail)]
            self.cut += len(body) > self.params.query_tokens
            result.append([*body[: self.params.query_tokens], *self._tail, self.eos])
        return result

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """bos + text + eos for each text, cut to `document_tokens` in all; bos and eos survive the cut."""
        keep = self.params.document_tokens - 2
        bodies = self._ids([text.strip() for text in texts])
        self.cut += sum(len(ids) > keep for ids in bodies)
        return [[self.bos, *ids[:keep], self.eos] for ids in bodies]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return ids

    def _tail_length(self) -> int:
        head = self._words.query + self._words.gap + "x"
        return len(self._ids([head + self.tail_text])[0]) - len(self._ids([head])[0])


def add_special_tokens(tokenizer: Any) -> list[int]:
    """Add the three prompt tokens to `tokenizer` (nothing changes if they are there); returns their ids."""
    from tokenizers import AddedToken

    tokens = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    tokenizer.add_tokens(tokens, special_tokens=True)
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL_TOKENS]
