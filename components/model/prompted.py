"""A sentence-transformers model whose `encode_query` says so when no prompt is named and there is no default."""

import logging
from typing import Any

from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


class PromptedTransformer(SentenceTransformer):
    """A served model of several tasks: without the name of a prompt its queries would be embedded as documents."""

    def encode_query(  # type: ignore[override]  # overloads by output format
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, **how: Any
    ) -> Any:
        """As sentence-transformers', with a warning in the log when no prompt is named and the model has no default."""
        if prompt_name is None and prompt is None and not self.prompts.get("query"):
            names = ", ".join(name for name, text in self.prompts.items() if text)
            log.warning("encode_query without prompt_name embeds queries as documents; name one of %s", names)
        return super().encode_query(inputs, prompt_name, prompt, **how)
