"""Prompt template and tokenization: (shots, instruction, text) to token ids.

The format is bge-en-icl's (FlagEmbedding, research/llm_dense_retriever), in two templates:

    special   <instruct>{task}\\n<query>{q}\\n<response>{r}         three added tokens
    plain     Instruct: {task}\\nQuery: {q}\\nResponse: {r}         the same in words

    query     bos  example \\n\\n example \\n\\n <instruct>{task}\\n<query>  {q}\\n<response>  eos
              '------------------- prefix, shared by a task --------------'  '-- query ids --'
    document  bos  {p}  eos                                         never a prompt

If the tokenizer has no bos token (Qwen), none is used. A served model tokenizes bos, prefix, text, tail and eos as one
string, so the ids used everywhere are those of that string: Qwen's and Llama 3's tokenizers merge a text's last full
stop with the tail's line break. The string is split into prefix and query after the marker only: an added token never
merges, and the words `Query:` do not merge with the space after them. `Prompt` compares whole and parts over `PROBES`
in its constructor, and the marker's ids for every text.

A special token's string in a user's text (`<query>`, `<|im_end|>`) would become that token, so a space is inserted
after its first character (`as_text`); the served model's chat template does the same (components/model/export.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.base.errors import UserError
from components.config import PromptParams
from components.contracts.shots import Shot

SPECIAL_TOKENS = ("<instruct>", "<query>", "<response>")
PROBES = (  # texts whose tokens differ between tokenizers at the ends or inside
    *("word", "Two words", "a.", "Really?!", "(so)", '"quoted"', "...", ".", ",x", "'s", "- item", "$5", "#1", "@me"),
    *("7", "12.5%", "1024", "3 apples", "in 1999", "line\nbreak", "end.\n\nNew", "tab\there", "two  spaces", "a\r\nb"),
    *("f(x) {\n  return;\n}", "<b>bold</b>", "Query: x", "x\nResponse:", "https://example.org/a_b?c=d&e=%20", "\\n"),
    *("naïve café", "e\u0301te", "\u0301", "日本語。", "。", "مرحبا؟", "नमस्ते", "🙂", "🙂🙃 x", "x 👩‍👩‍👧"),
    *("\u200b", ""),
)


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
    """Makes token ids with one tokenizer and one set of `PromptParams`.

    Attributes:
        cut: texts cut to their length so far.
        special_words: the strings of the tokenizer's special tokens, longest first.

    Raises:
        UserError: the tokenizer has no eos token, or a prompt's ids as one string differ from those of its parts.
    """

    def __init__(self, tokenizer: Any, params: PromptParams) -> None:
        self.tokenizer, self.params, self.cut = tokenizer, params, 0
        self._words = _SPELLINGS[params.template]
        self.bos, self.eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        if self.eos is None:
            raise UserError(
                f"{self._folder}: the tokenizer has no eos token, where a text's vector is read; "
                "set eos_token in its tokenizer_config.json"
            )
        if params.template == "special":
            add_special_tokens(tokenizer)
        self.special_words = _special_words(tokenizer)
        self._special = re.compile("|".join(map(re.escape, self.special_words)))
        self._bos_text = tokenizer.bos_token or ""
        self._anchor = self._ids([self._words.query])[0]
        self._tail = self._ids([self._words.query + self._words.gap + "x" + self.tail_text])[0][-self._tail_length() :]
        self._check_parts()

    @property
    def _folder(self) -> str:
        return self.tokenizer.name_or_path or "the student"

    @property
    def tail_text(self) -> str:
        """The text after a query's text, before eos."""
        return f"\n{self._words.response}"

    def prefix_text(self, instruction: str, shots: Sequence[Shot] = ()) -> str:
        """Everything before a query's text, in the form of sentence-transformers' `prompts` (without bos)."""
        words = self._words
        head = f"{words.instruct}{words.gap}{self.as_text(instruction)}\n{words.query}"
        examples = [
            f"{head}{words.gap}{self.clip(shot.query)}{self.tail_text}{words.gap}{self.clip(shot.response)}\n\n"
            for shot in shots
        ]
        return "".join(examples) + head + words.gap

    def as_text(self, text: str) -> str:
        """`text` stripped of surrounding whitespace, with special tokens broken up: `<query>` becomes `< query>`."""
        text = text.strip()
        if self._special.search(text):
            for word in self.special_words:
                text = text.replace(word, f"{word[0]} {word[1:]}")
        return text

    def clip(self, text: str) -> str:
        """`text`, cut to `example_tokens` tokens: one side of a few-shot example."""
        text = self.as_text(text)
        ids = self._ids([text])[0]
        if len(ids) <= self.params.example_tokens:
            return text
        how = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}  # Llama 3 would turn " ." into "."
        return str(self.tokenizer.decode(ids[: self.params.example_tokens], **how)).strip()

    def prefix_ids(self, instruction: str, shots: Sequence[Shot] = ()) -> list[int]:
        """bos + examples + instruction, up to the start of the query's text.

        Raises:
            UserError: the prefix is longer than `prompt.prefix_tokens`.
        """
        ids = self._ids([self._bos_text + self.prefix_text(instruction, shots).rstrip(" ")])[0]
        if len(ids) > self.params.prefix_tokens:
            raise UserError(
                f"prompt: {len(shots)} shots make a prefix of {len(ids)} tokens, over prompt.prefix_tokens = "
                f"{self.params.prefix_tokens}; use fewer or shorter shots"
            )
        return ids

    def query_ids(self, texts: Sequence[str], prefix: int | None = None) -> list[list[int]]:
        """For each text, the ids after the prefix: text, tail, eos.

        The tail is never cut: it overwrites the end of a full row, as in sentence-transformers.

        Args:
            prefix: tokens of the prefix. Prefix, text, tail and eos are then cut to `prefix_tokens` + `query_tokens`
                in all, as every served model does, which has one limit for the whole row. None: the text alone is cut
                to `query_tokens`, which training sets lower.

        Raises:
            UserError: the tokenizer merges the plain template's words with a text.
        """
        cut = self.cut_queries(texts, prefix)
        self.cut += sum(was_cut for _, was_cut in cut)
        return [ids for ids, _ in cut]

    def cut_queries(self, texts: Sequence[str], prefix: int | None = None) -> list[tuple[list[int], bool]]:
        """The result of `query_ids`, and for each text whether it was cut."""
        room = self.params.query_tokens  # of the text
        if prefix is not None:
            room += self.params.prefix_tokens - prefix - len(self._tail) - 1
        result = []
        for ids in self._behind_prefix(texts):
            kept = ids if len(ids) < room + len(self._tail) else [*ids[:room], *self._tail]
            result.append(([*kept, self.eos], kept != ids))
        return result

    def document_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """bos + text + eos for each text, cut to `document_tokens` in all; bos and eos are never cut."""
        cut = self.cut_documents(texts)
        self.cut += sum(was_cut for _, was_cut in cut)
        return [ids for ids, _ in cut]

    def cut_documents(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """The result of `document_ids`, and for each text whether it was cut."""
        keep = self.params.document_tokens - 1
        bodies = self._ids([self._bos_text + self.as_text(text) for text in texts])
        return [([*ids[:keep], self.eos], len(ids) > keep) for ids in bodies]

    def _behind_prefix(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text and the tail, not truncated, as tokenized after a prefix."""
        head = self._words.query + self._words.gap
        found, result = self._ids([head + self.as_text(text) + self.tail_text for text in texts]), []
        for ids, text in zip(found, texts, strict=True):
            if ids[: len(self._anchor)] != self._anchor:
                raise UserError(
                    f"{self._folder}: the tokenizer merges {self._words.query!r} with {text[:60]!r} behind it; "
                    "set prompt.template: special in params.yaml, whose added tokens never merge"
                )
            result.append(ids[len(self._anchor) :])
        return result

    def _check_parts(self) -> None:
        """Compare the ids of whole prompts and documents in one string with those of their parts, over `PROBES`."""
        head, eos = self._bos_text + self.prefix_text("Find it.", (Shot("why?", "Because."),)), self.tokenizer.eos_token
        prefix = self._ids([head.rstrip(" ")])[0]
        parts = [[*prefix, *ids, self.eos] for ids in self._behind_prefix(PROBES)]
        parts += [[*ids, self.eos] for ids in self._ids([self._bos_text + probe for probe in PROBES])]
        whole = [head + probe + self.tail_text + eos for probe in PROBES]
        whole += [self._bos_text + probe + eos for probe in PROBES]
        for text, apart, together in zip([*PROBES, *PROBES], parts, self._ids(whole), strict=True):
            if apart != together or (self.bos is not None and apart[0] != self.bos):
                raise UserError(
                    f"{self._folder}: {text!r} has other token ids within a prompt than apart, so a served model would "
                    "differ from the trained one; in its tokenizer.json make bos and eos special added tokens without "
                    "single_word, lstrip and rstrip"
                )

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return ids

    def _tail_length(self) -> int:
        head = self._words.query + self._words.gap + "x"
        return len(self._ids([head + self.tail_text])[0]) - len(self._ids([head])[0])


def _special_words(tokenizer: Any) -> list[str]:
    """Single characters are left out: a pad token may be "!", which cannot be split by a space."""
    words = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted((word for word in words if len(word) > 1), key=lambda word: (-len(word), word))


def add_special_tokens(tokenizer: Any) -> None:
    """Add the special template's tokens that `tokenizer` lacks, and note in `tokenizer.new_rows` what they start as.

    new_rows: id of each token that was added here -> ids of its word in the plain template, whose mean embedding it
    starts with (backbone.grow_embeddings). A token that the model's own tokenizer has keeps its trained embedding.
    """
    from tokenizers import AddedToken

    known, plain = tokenizer.get_vocab(), _SPELLINGS["plain"]
    words = dict(zip(SPECIAL_TOKENS, (plain.instruct, plain.query, plain.response), strict=True))
    new = {
        token: list(tokenizer(word, add_special_tokens=False)["input_ids"])
        for token, word in words.items()
        if token not in known
    }
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS], special_tokens=True)
    rows = {int(tokenizer.convert_tokens_to_ids(token)): ids for token, ids in new.items()}
    tokenizer.new_rows = getattr(tokenizer, "new_rows", {}) | rows
