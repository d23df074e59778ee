"""Benchmarks other than MTEB(eng, v2): their subsets, splits and prompts, what is refused, and a user's own tasks."""

from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.benchmark.tasks import load_benchmark, mteb_task, scope
from components.config import EvaluateParams
from components.contracts.shots import TaskPrompt
from tests.evaluation.fakes import write_benchmark

GERMAN = "MTEB(deu, v1)"
STATED = {
    kind: {"instruction": f"Do {kind}.", "symmetric": kind == "STS"}
    for kind in ("Clustering", "PairClassification", "Reranking", "Retrieval", "STS", "Classification")
}


def params(benchmark: str, **changes: Any) -> EvaluateParams:
    return EvaluateParams.model_validate({"benchmark": benchmark, **changes})


def test_a_benchmark_s_tasks_have_its_own_languages_and_splits() -> None:
    made = load_benchmark(params(GERMAN, instructions=STATED), Path("unused"))
    task = made.makers["MTOPDomainClassification"]()
    assert (task.hf_subsets, task.eval_splits) == (["de"], ["validation", "test"])
    assert (mteb_task("MTOPDomainClassification").hf_subsets, scope("MTEB(eng, v2)", "nothing")) == (["en"], {})


def test_a_task_s_prompt_is_the_stated_one_ours_mteb_s_or_that_of_its_type() -> None:
    own = {"GermanDPR": {"instruction": "Answer it."}}
    prompts = load_benchmark(params(GERMAN, instructions={**STATED, **own}), Path("unused")).prompts
    assert prompts["GermanDPR"] == TaskPrompt("Answer it.")
    assert prompts["AmazonCounterfactualClassification"].instruction.startswith("Find out whether a product review")
    assert prompts["MTOPIntentClassification"].instruction.startswith("Classify the intent")  # mteb's own
    assert prompts["BlurbsClusteringP2P"] == TaskPrompt("Do Clustering.")
    assert prompts["GermanSTSBenchmark"].symmetric


@pytest.mark.parametrize(
    ("benchmark", "changes", "said"),
    [
        (GERMAN, {}, r"neither it nor mteb has an instruction for \d+ tasks; .* type: BlurbsClusteringP2P, Blurbs"),
        (
            GERMAN,
            {"instructions": {"Moon": {"instruction": "x"}}},
            r"instructions\.Moon: no task and no type of the be",
        ),
        ("MIEB(Img)", {}, r"MIEB\(Img\): task \S+ has image; only single tasks of texts are evaluated here"),
        ("MTEB(eng, v1)", {}, "task CQADupstackRetrieval is a mean of other tasks"),
        ("MTEB(moon)", {}, "is no benchmark of mteb"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_load(benchmark: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_benchmark(params(benchmark, **changes), Path("unused"))


def test_held_out_tasks_of_the_user_s_own_join_a_benchmark(tmp_path: Path) -> None:
    tmp_path = tmp_path / "benchmark"
    write_benchmark(tmp_path, size=6)
    made = load_benchmark(params("MTEB(eng, v2)", held_out=["find", "alike"]), tmp_path)
    assert (len(made.makers), list(made.makers)[-2:]) == (43, ["find", "alike"])
    task = made.makers["alike"]()
    task.load_data()
    assert (task.metadata.type, made.prompts["alike"].instruction) == ("STS", task.metadata.prompt)
    with pytest.raises(UserError, match=r"evaluate\.held_out: moon: prepare holds nothing out for it; one of find"):
        load_benchmark(params("MTEB(eng, v2)", held_out=["moon"]), tmp_path)


def test_settings_of_an_mteb_benchmark_have_no_effect_on_the_starter() -> None:
    with pytest.raises(ValueError, match="held_out has no effect on starter"):
        params("starter", held_out=["find"])
