"""Benchmark texts: real mteb task objects of every kind give the texts they score, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from components.base.errors import UserError
from components.config import DecontaminateParams
from components.data import prepare
from components.data.mteb_texts import benchmark_texts, texts_of
from tests.data.conftest import MakeContext, Rows, local, run_stages, task, write_jsonl


def write_sources(folder: Path) -> dict[str, Any]:
    """One small source for each kind of task."""
    pairs: Rows = [{"query": f"question {n}", "document": f"passage {n}"} for n in range(12)]
    judged: Rows = [{"query": f"q {n}", "document": f"clause {n} {m}", "score": m} for n in range(4) for m in range(2)]
    classes: Rows = [{"text": f"note {n}", "label": f"kind {n % 2}"} for n in range(20)]
    graded: Rows = [{"text1": f"left {n}", "text2": f"right {n}", "score": n} for n in range(5)]
    told: Rows = [{"text": f"news {n}", "correct": f"good {n}", "incorrect": f"bad {n}"} for n in range(4)]
    rows = {"pairs": pairs, "judged": judged, "classes": classes, "graded": graded, "told": told}
    return {name: local(write_jsonl(folder / f"{name}.jsonl", some)) for name, some in rows.items()}


TASKS = {
    "R": task("pairs", test=3, test_documents=5),
    "K": task("judged", kind="reranking", test=4),
    "C": task("classes", kind="classification", test=6, fit=8),
    "G": task("classes", kind="clustering", test=6),
    "P": task("judged", kind="pair_classification", test=4),
    "S": task("graded", kind="sts", test=5),
    "M": task("told", kind="summarization", test=4),
}


def test_every_kind_of_task(tmp_path: Path, make_context: MakeContext) -> None:
    from components.benchmark.starter import starter_tasks

    run_stages(make_context(write_sources(tmp_path), TASKS))
    tasks = [kind() for kind in starter_tasks(tmp_path / "outputs" / "prepare" / "benchmark")]
    found: dict[str, set[str]] = {}
    for place, text in texts_of(tasks).items():
        found.setdefault(place.split("/")[0], set()).add(text)
    numbers = {text.split()[1] for text in found["R"] if text.startswith("question")}
    assert found["R"] == {f"{what} {number}" for what in ("question", "passage") for number in numbers}
    assert len(numbers) == 3  # hard documents, which answer nothing, are no leak
    assert found["K"] == {f"q {n}" for n in range(4)} | {f"clause {n} 1" for n in range(4)}
    assert {len(found[name]) for name in ("C", "G")} == {6}
    assert found["P"] == {f"q {n}" for n in range(4)} | {f"clause {n} {m}" for n in range(4) for m in range(2)}
    assert found["S"] == {f"{side} {n}" for side in ("left", "right") for n in range(5)}
    assert found["M"] == {f"{what} {n}" for what in ("news", "good", "bad") for n in range(4)}


def test_a_benchmark_that_mteb_does_not_know() -> None:
    with pytest.raises(UserError, match=r"^prepare\.decontaminate\.benchmark: mteb has no benchmark 'MTEB\(none\)'"):
        benchmark_texts("MTEB(none)")


def test_data_that_cannot_be_loaded() -> None:
    unreachable = Mock(**{"load_data.side_effect": ConnectionError("no route\nto host")})
    unreachable.metadata.name = "Some"
    with pytest.raises(UserError, match=r"the data of Some cannot be loaded \(no route to host\); check the network"):
        texts_of([unreachable])


def test_prepare_removes_the_benchmarks_texts(
    tmp_path: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def texts(name: str) -> dict[str, str]:
        asked.append(name)
        return {"Some/default/test/queries/1": "QUESTION 3!"}

    monkeypatch.setattr(prepare, "benchmark_texts", texts)
    context = make_context(write_sources(tmp_path), {"R": task("pairs", train=12)})
    against = DecontaminateParams(benchmark="MTEB(some)")
    section = context.config.prepare.model_copy(update={"decontaminate": against})
    metrics = run_stages(replace(context, config=context.config.model_copy(update={"prepare": section})))
    assert asked == ["MTEB(some)"]
    assert (metrics["R.train"], metrics["removed_texts"]) == (11, 1)
