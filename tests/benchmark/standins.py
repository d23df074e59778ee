"""Made-up data of the right schema for all 41 tasks of MTEB(eng, v2), so that the real task classes run without a hub.

The folder has a mirror's layout (`<root>/<data set path>/...`, see mirror.py), so the same `evaluate.mirror` parameter
reads it. Columns are those the classes demand; the real repositories have more. Texts have a task's true mean length
and share of duplicates when the caller gives them: costs can then be measured without the real data.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.benchmark.tasks import ENGLISH, mteb_task, mteb_task_names, scope

BENCHMARK = "MTEB(eng, v2)"
_LANGUAGE_COLUMN = ("STS17", "STS22.v2", "MassiveIntentClassification", "MassiveScenarioClassification")
_OWN_CONFIG = ("MTOPDomainClassification", "AmazonCounterfactualClassification")
_FLAT = ("BiorxivClusteringP2P.v2",)
_HIERARCHICAL = ("ArXivHierarchicalClusteringP2P", "ArXivHierarchicalClusteringS2S")
_ARXIV_ROWS = 2_100  # the class cuts to 2,048 and refuses less
_WORDS = 400


@dataclass(frozen=True)
class Shape:
    """A stand-in's size: `rows` scored items of `characters` on average; shares of the texts: `distinct`, `empty`."""

    rows: int = 24
    characters: float = 40.0
    distinct: float = 1.0
    empty: float = 0.0


def write_standins(
    root: Path, tasks: Sequence[str] | None = None, shapes: Mapping[str, Shape] | None = None, seed: int = 0
) -> Path:
    """Write stand-ins for `tasks` (all 41 when None) under `root`; returns `root`."""
    names = mteb_task_names(BENCHMARK) if tasks is None else list(tasks)
    for name in names:
        task = mteb_task(name)
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        source = _Source(np.random.default_rng(int.from_bytes(digest[:8], "little")), (shapes or {}).get(name, Shape()))
        folder = root / str(task.metadata.dataset["path"])
        _WRITERS[str(task.metadata.type)](name, task, source, folder)
    return root


class _Source:
    """Seeded texts about topics: texts of one topic share words, so that scores are neither 0 nor 1."""

    def __init__(self, random: np.random.Generator, shape: Shape) -> None:
        self.random, self.shape = random, shape
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        self.words = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(_WORDS)]

    def text(self, topic: int) -> str:
        """One text of roughly lognormal length about a topic."""
        mean = self.shape.characters / 6.0  # a word and its space
        count = max(2, round(float(self.random.lognormal(np.log(mean) - 0.125, 0.5))))
        own = self.random.integers(0, 12, count) + 12 * (topic % 24)
        other = self.random.integers(288, _WORDS, count)
        return " ".join(self.words[i] for i in np.where(self.random.random(count) < 0.5, own, other))

    def texts(self, topics: Sequence[int]) -> list[str]:
        """A text for each topic; `1 - distinct` of them repeat an earlier text of their topic, `empty` are empty."""
        known: dict[int, list[str]] = {}
        found = []
        for topic in topics:
            if self.shape.empty and self.random.random() < self.shape.empty:
                found.append("")
                continue
            same = known.setdefault(topic, [])
            if not same or self.random.random() < self.shape.distinct:
                same.append(self.text(topic))
                found.append(same[-1])
            else:
                found.append(same[int(self.random.integers(len(same)))])
        return found

    def topics(self, count: int, kinds: int) -> list[int]:
        """Topics 0..kinds-1 in turn."""
        return [i % kinds for i in range(count)]


def write_data_set(folder: Path, configs: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    """Parquet files and the README that tells `datasets` which config and split each one is."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, columns in splits.items():
            path = folder / config / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(columns).write_parquet(path)
            lines += [f"  - split: {split}", f"    path: {config}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")


def _retrieval(name: str, task: Any, source: _Source, folder: Path) -> None:
    rows = source.shape.rows
    documents = source.texts(source.topics(3 * rows, 12))
    queries = [" ".join(documents[i].split()[:6]) + " " + source.text(i % 12) for i in range(rows)]
    relevant = [(i, j) for i in range(rows) for j in {i, (i + 12) % (3 * rows)}]
    ids = ["d1", *(f"q{i}" for i in range(1, rows))]  # the first query has a document's id, as in ArguAna
    configs = _ranking_configs([*documents, documents[0], ""], queries, ids, relevant)
    _judge(configs, ids[0], "gone-0")
    _judge(configs, ids[2], "gone-1")
    write_data_set(folder, configs)


def _reranking(name: str, task: Any, source: _Source, folder: Path) -> None:
    """Impressions of three queries each (MindSmall's ids), eight candidates, two of them relevant."""
    impressions, candidates = max(4, source.shape.rows // 3), 8
    documents = source.texts(source.topics(impressions * 4, 12))
    ids = [f"{i}_{n}" for i in range(impressions) for n in range(3)]
    queries = source.texts([(i + n) % 12 for i in range(impressions) for n in range(3)])
    lists = [[(5 * i + step * 7) % len(documents) for step in range(candidates)] for i in range(impressions)]
    lists = [sorted(set(found)) for found in lists]
    relevant = [(3 * i + n, row) for i in range(impressions) for n in range(3) for row in lists[i][:2]]
    configs = _ranking_configs(documents, queries, ids, relevant)
    for query in ids[:3]:  # an impression has one set of judgements: of several, mteb takes any
        _judge(configs, query, "gone-0")
    shown = [[f"d{row}" for row in lists[i // 3]] for i in range(len(ids))]
    configs["top_ranked"] = {"test": {"query-id": ids, "corpus-ids": shown}}
    write_data_set(folder, configs)


def _judge(configs: dict[str, dict[str, dict[str, Any]]], query: str, document: str) -> None:
    """Call a document relevant that is not in the corpus, as in ArguAna."""
    for column, value in zip(("query-id", "corpus-id", "score"), (query, document, 1), strict=True):
        configs["default"]["test"][column].append(value)


def _ranking_configs(
    documents: list[str], queries: list[str], ids: list[str], relevant: list[tuple[int, int]]
) -> dict[str, dict[str, dict[str, Any]]]:
    names = [f"d{i}" for i in range(len(documents))]
    qrels = {
        "query-id": [ids[query] for query, _ in relevant],
        "corpus-id": [names[document] for _, document in relevant],
        "score": [1] * len(relevant),
    }
    return {
        "corpus": {"test": {"_id": names, "title": [""] * len(documents), "text": documents}},
        "queries": {"test": {"_id": ids, "text": queries}},
        "default": {"test": qrels},
    }


def _pairs(source: _Source) -> tuple[list[str], list[str], list[float]]:
    """Left texts, right texts, and how much of the left one's words the right one keeps (0 to 1)."""
    rows = source.shape.rows
    left = source.texts(source.topics(rows, 12))
    kept = [(i % 6) / 5 for i in range(rows)]
    right = []
    for i, share in enumerate(kept):
        words, other = left[i].split(), source.text(i % 12 + 12).split()
        cut = round(share * len(words))
        right.append(" ".join([*words[:cut], *other[: max(1, len(words) - cut)]]))
    return left, right, kept


def _sts(name: str, task: Any, source: _Source, folder: Path) -> None:
    left, right, kept = _pairs(source)
    span = task.max_score - task.min_score
    columns: dict[str, Any] = {
        "sentence1": left,
        "sentence2": right,
        "score": [task.min_score + span * k for k in kept],
    }
    write_data_set(folder, {"default": {"test": _with_language(name, columns)}})


def _pair_classification(name: str, task: Any, source: _Source, folder: Path) -> None:
    left, right, kept = _pairs(source)
    write_data_set(
        folder, {"default": {"test": {"sent1": [left], "sent2": [right], "labels": [[int(k > 0.5) for k in kept]]}}}
    )


def _classification(name: str, task: Any, source: _Source, folder: Path) -> None:
    named = name.startswith("Massive")  # its labels are words, which sklearn takes for more than two classes only
    kinds = 2 if source.shape.rows < 40 and not named else 4
    splits = {}
    for split, rows in (("train", kinds * task.samples_per_label + 8), ("test", source.shape.rows)):
        topics = source.topics(rows, kinds)
        labels: list[Any] = [f"label {topic}" for topic in topics] if named else list(topics)
        splits[split] = _with_language(name, {"text": source.texts(topics), "label": labels})
    write_data_set(folder, {"en" if name in _OWN_CONFIG else "default": splits})


def _clustering(name: str, task: Any, source: _Source, folder: Path) -> None:
    """mteb embeds 4 % of the rows: 25 times as many as are to be scored."""
    rows = _ARXIV_ROWS if name in _HIERARCHICAL else max(25 * source.shape.rows, 500)
    topics = source.topics(rows, 8)
    texts = source.texts(topics)
    labels = [f"field{t // 4}.part{t}" for t in topics] if name in _HIERARCHICAL else [f"field{t}" for t in topics]
    flat = {"sentences": texts, "labels": labels}
    columns: dict[str, Any] = flat if name in _FLAT else {"sentences": [texts], "labels": [labels]}
    write_data_set(folder, {"default": {"test": columns}})


def _summarization(name: str, task: Any, source: _Source, folder: Path) -> None:
    rows, each = max(4, source.shape.rows // 6), 6
    texts = source.texts(source.topics(rows, 12))
    machine, relevance = [], []
    for i, text in enumerate(texts):
        words = text.split()
        cuts = [max(1, round(len(words) * (n + 1) / each)) for n in range(each)]
        machine.append([" ".join([*words[:cut], *source.text(i + 7).split()[: len(words) - cut]]) for cut in cuts])
        relevance.append([5.0 * (n + 1) / each for n in range(each)])
    human = [[text, source.text(i % 12)] for i, text in enumerate(texts)]
    columns = {"text": texts, "human_summaries": human, "machine_summaries": machine, "relevance": relevance}
    write_data_set(folder, {"default": {"test": columns}})


def _with_language(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    if name not in _LANGUAGE_COLUMN:
        return columns
    (subset,) = scope(ENGLISH, name)["hf_subsets"]
    return {**columns, "lang": [subset] * len(next(iter(columns.values())))}


_WRITERS = {
    "Retrieval": _retrieval,
    "Reranking": _reranking,
    "STS": _sts,
    "PairClassification": _pair_classification,
    "Classification": _classification,
    "Clustering": _clustering,
    "Summarization": _summarization,
}
