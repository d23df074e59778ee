"""Packed rows that a GPU has the memory for: where one does not fit, the texts that are left go into smaller rows."""

from collections.abc import Iterator, Sequence

from components.base.errors import UserError
from components.model.batches import TokenBatches
from components.model.packing import plan_rows


class PackedRows(TokenBatches):
    """Runs rows of texts behind a shared prefix; `compute` gets the positions of a row's texts and its tokens."""

    def __init__(self, budget: int, prefix: int) -> None:
        """
        Args:
            budget: tokens of a row, prefix included.
            prefix: tokens that every row begins with.
        """
        super().__init__(budget, fixed=False)
        self.prefix = prefix

    def _planned(self, lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
        for members in plan_rows(lengths, self.prefix, self.budget):
            yield members, self.prefix + sum(lengths[place] for place in members)

    def _halve(self, members: list[int], length: int) -> None:
        if len(members) == 1:
            raise UserError(
                f"a text of {length:,} tokens, its prompt included, does not fit into the GPU's memory; "
                "lower prompt.prefix_tokens, query_tokens or document_tokens, or take a larger GPU"
            )
        self._lower(length // 2, f"{len(members)} texts in a row of {length:,} tokens")
