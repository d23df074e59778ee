"""Test texts of an mteb benchmark, for decontamination of the training data.

Ranking tasks: the queries and the documents judged relevant to them; the rest of a corpus holds no answers, and much of
it (Wikipedia, MS MARCO) is legitimate training data. All other tasks: every text they score.
mteb downloads the data at its pinned revisions, into the hub cache.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from components.base.errors import UserError
from components.base.progress import progress
from components.base.short_lines import describe_exception

_NO_TEXT = {"id", "_id", "label", "labels", "label_text", "lang", "language", "split", "score", "title_id"}


def benchmark_texts(name: str) -> dict[str, str]:
    """Every test text of the benchmark `name`, by `TASK/SUBSET/SPLIT/PLACE`.

    Raises:
        UserError: mteb knows no such benchmark, or a task's data cannot be loaded.
    """
    import mteb

    try:
        tasks = list(mteb.get_benchmark(name).tasks)
    except KeyError:
        raise UserError(
            f"prepare.decontaminate.benchmark: mteb has no benchmark {name!r}; see mteb.get_benchmarks()"
        ) from None
    return texts_of(progress(tasks, f"texts of {name}", unit="task"))


def texts_of(tasks: Iterable[Any]) -> dict[str, str]:
    """Test texts of mteb task objects, with the keys of `benchmark_texts`."""
    texts: dict[str, str] = {}
    for task in tasks:
        try:
            task.load_data()
        except (OSError, ValueError, RuntimeError) as problem:
            reason = describe_exception(problem)
            raise UserError(
                f"prepare.decontaminate.benchmark: the data of {task.metadata.name} cannot be loaded ({reason}); "
                "check the network, or point HF_HOME at a cache that holds it"
            ) from None
        for subset, splits in _subsets(task.dataset).items():
            for split in task.eval_splits:
                for place, text in _texts(splits[split]):
                    texts[f"{task.metadata.name}/{subset}/{split}/{place}"] = text
        task.dataset = None  # free it: all corpora of a benchmark do not fit in memory
        task.data_loaded = False
    return texts


def _subsets(dataset: Any) -> dict[str, Any]:
    """Data by subset and split; monolingual tasks may have no subset level."""
    first = next(iter(dataset.values()))
    nested = hasattr(first, "keys") and "corpus" not in first
    return dict(dataset) if nested else {"default": dataset}


def _texts(data: Any) -> Iterator[tuple[str, str]]:
    if "corpus" in data and "relevant_docs" in data:
        yield from _ranking_texts(data)
        return
    for column in [name for name in data.column_names if name not in _NO_TEXT]:
        for row, value in enumerate(data[column]):
            yield from ((f"{row}/{column}{suffix}", text) for suffix, text in _flat(value))


def _ranking_texts(data: Any) -> Iterator[tuple[str, str]]:
    yield from ((f"queries/{row['id']}", row["text"]) for row in data["queries"] if isinstance(row["text"], str))
    relevant = {
        document for judged in data["relevant_docs"].values() for document, grade in judged.items() if grade > 0
    }
    for row in data["corpus"]:
        if row["id"] in relevant and row["text"].strip():
            yield f"corpus/{row['id']}", f"{row.get('title') or ''} {row['text']}".strip()


def _flat(value: Any, suffix: str = "") -> Iterator[tuple[str, str]]:
    """Texts in a cell: the cell itself, or the items of a (nested) list."""
    if isinstance(value, str) and value.strip():
        yield suffix, value
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _flat(one, f"{suffix}/{number}")
