"""Two versions on the same fresh queries, side by side, before a person approves one of them.

No relevance is known here, so no score is computed: the page shows what users would see change, the most changed
queries first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError
from components.page.render import render_page
from components.serving.ask import Model, choose_task, nearest, registered_model, trained_model
from components.serving.corpus import QUERY_COLUMNS, read_corpus, task_corpus

Hits = list[tuple[float, str]]
Cell = tuple[float, str, str]  # similarity, text, and where the other model has it


@dataclass(frozen=True)
class Shadowed:
    """A query and what each model finds for it. overlap: the share of documents that both find."""

    query: str
    candidate: Hits
    production: Hits

    @property
    def overlap(self) -> float:
        ours, theirs = ({text for _, text in hits} for hits in (self.candidate, self.production))
        return len(ours & theirs) / max(len(ours), len(theirs), 1)

    @property
    def same_first(self) -> bool:
        return bool(self.candidate and self.production) and self.candidate[0][1] == self.production[0][1]

    def rows(self) -> list[tuple[int, Cell, Cell]]:
        """(rank, candidate's hit, production's hit)."""
        sides = zip(_cells(self.candidate, self.production), _cells(self.production, self.candidate), strict=True)
        return [(rank, ours, theirs) for rank, (ours, theirs) in enumerate(sides, 1)]


def _cells(hits: Hits, others: Hits) -> list[Cell]:
    ranks = {text: rank for rank, (_, text) in enumerate(others, 1)}
    return [(score, text, _moved(ranks.get(text), here)) for here, (score, text) in enumerate(hits, 1)]


def _moved(there: int | None, here: int) -> str:
    """
    >>> _moved(None, 1), _moved(3, 1), _moved(2, 2)
    ('only here', 'there 3', '')
    """
    return "only here" if there is None else "" if there == here else f"there {there}"


@dataclass(frozen=True)
class Comparison:
    """Both models on all queries, the most changed first."""

    candidate: str
    production: str
    task: str
    corpus: str
    documents: int
    queries: list[Shadowed]

    @property
    def overlap(self) -> float:
        return sum(one.overlap for one in self.queries) / len(self.queries)

    @property
    def same_first(self) -> int:
        return sum(one.same_first for one in self.queries)

    def summary(self, top: int) -> str:
        """One line for the terminal and the approval form."""
        return (
            f"{len(self.queries)} queries: {100 * self.overlap:.0f} % of the best {top} documents are the same, "
            f"the first one is for {self.same_first}"
        )


def compare_versions(
    root: Path, candidate: str, production: str, queries: Path, corpus: Path | None, task: str, top: int
) -> Comparison:
    """Both versions on the same queries and documents.

    Args:
        candidate: [MODEL/]VERSION of the registry; the model in outputs/train when empty.
        queries: a file, see `read_corpus`, with a column query or text.
        corpus: see `ask`.

    Raises:
        UserError: no such version, task or file, or the two versions are one.
    """
    outputs = root / "outputs"
    models = [registered_model(root, which) if which else trained_model(outputs) for which in (candidate, production)]
    if models[0].folder == models[1].folder:
        raise UserError(f"{candidate} and {production} are the same version; name two")
    asked = list(dict.fromkeys(read_corpus(queries, QUERY_COLUMNS)))
    task = choose_task(models[0], task, outputs)
    file, texts = (corpus, read_corpus(corpus)) if corpus else task_corpus(outputs, task)
    found = [_search(model, task, asked, texts, root, top) for model in models]
    pairs = [Shadowed(*row) for row in zip(asked, *found, strict=True)]
    return Comparison(
        models[0].name, models[1].name, task, str(file), len(texts), sorted(pairs, key=lambda one: one.overlap)
    )


def _search(model: Model, task: str, asked: Sequence[str], texts: Sequence[str], root: Path, top: int) -> list[Hits]:
    if task not in model.prompts:
        raise UserError(f"{model.name}: knows no task {task}; name one that both know with --task")
    return nearest(model, task, asked, texts, root / ".cache" / "vectors", top)


def comparison_page(comparison: Comparison, top: int) -> str:
    """The comparison as HTML."""
    return render_page(
        "components.serving",
        "compare.html.jinja",
        title=f"{comparison.candidate} beside {comparison.production}",
        comparison=comparison,
        summary=comparison.summary(top),
    )
