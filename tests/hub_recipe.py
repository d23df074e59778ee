"""Every repository of the full-size recipe, made on the spot: file names and columns as the hub has them, random words.

Layouts: cfli/bge-full-data holds query, pos, neg and their scores, prompt and type, and a category for clustering;
snli is Parquet with its configuration in README.md; the STS sets are JSON Lines.
"""

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import polars as pl

from components.config import Config, HubOrigin, SourceParams
from tests.hub import Hub

_SHARD = "00000-of-00001"
_SNLI = """---
configs:
- config_name: plain_text
  data_files:
  - {split: test, path: plain_text/test-*}
  - {split: train, path: plain_text/train-*}
---
"""
_LABELS = ("physics", "music", "travel", "cooking")
Rows = list[dict[str, Any]]


def add_recipe(hub: Hub, config: Config, rows: int = 1) -> None:
    """Add what the recipe fetches: `rows` rows a source, and a few bytes a model (see `add_model`)."""
    for model in config.fetch.models.values():
        assert isinstance(model.origin, HubOrigin)
        paths = model.origin.path if isinstance(model.origin.path, list) else ["config.json"]
        hub.add("model", model.origin.repo, {path.replace("*", "model"): b"{}" for path in paths})
    for name, source in config.fetch.sources.items():
        assert isinstance(source.origin, HubOrigin)
        hub.add("dataset", source.origin.repo, _files(name, source, config.prepare.tasks[name].kind, rows))


def add_model(hub: Hub, repo: str, folder: Path) -> None:
    """The files of a model's folder, in place of those of the repository."""
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    hub.repos["model", repo] = files


def _files(name: str, source: SourceParams, kind: str, rows: int) -> dict[str, bytes]:
    assert isinstance(source.origin, HubOrigin)
    words = _Words(name)
    if name == "snli":
        pairs = [
            {"premise": words(9), "hypothesis": words(6), "label": words.choice([0, 1, 2, -1])} for _ in range(rows)
        ]
        data = _parquet(pairs)
        return {f"plain_text/{split}-{_SHARD}.parquet": data for split in ("train", "test")} | {
            "README.md": _SNLI.encode()
        }
    if kind == "sts":
        pairs = [
            {"sentence1": words(8), "sentence2": words(8), "score": round(words.random() * 5, 2)} for _ in range(rows)
        ]
        data = "".join(json.dumps(one) + "\n" for one in pairs).encode()
        if name == "sts22":
            return {"en/train.jsonl": data, "en/test.jsonl": data, "raw/en/1.json": b"{}"}
        return {f"{split}.jsonl.gz": gzip.compress(data, mtime=0) for split in ("train", "test")}
    path = source.origin.path
    assert isinstance(path, str)
    return {path.replace("*", _SHARD): _parquet(_bge_rows(words, kind, rows))}


def _bge_rows(words: "_Words", kind: str, rows: int) -> Rows:
    """Rows of cfli/bge-full-data: a query with its documents, or a text with a label and others as negatives."""
    made: Rows = []
    for number in range(rows):
        label = _LABELS[number % len(_LABELS)]
        if kind == "classification":
            positives, negatives = [label], [other for other in _LABELS if other != label]
        else:
            positives, negatives = [words(14)], [words(14) for _ in range(5)]
        row = {
            "query": words(7),
            "pos": positives,
            "neg": negatives,
            "pos_scores": [1.0] * len(positives),
            "neg_scores": [0.5] * len(negatives),
            "prompt": "Given a text, find its like.",
            "type": "normal" if kind == "retrieval" else "symmetric_class",
        }
        made.append({**row, "category": label} if kind == "clustering" else row)
    return made


def _parquet(rows: Rows) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows).write_parquet(file)
    return file.getvalue()


class _Words(random.Random):
    """Random sentences, the same for the same name."""

    def __call__(self, number: int) -> str:
        return " ".join(f"w{self.randrange(400)}x" for _ in range(number))
