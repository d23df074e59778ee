"""All 41 real task classes of MTEB(eng, v2) on stand-in data: our path scores what plain mteb scores, to 5e-7.

The data has what real sets have: empty and repeated texts (so exact ties), judged documents that are not in the corpus,
a query with a document's id.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import mteb
import numpy as np
import pytest
from mteb.abstasks import AbsTaskClassification, AbsTaskClustering
from mteb.abstasks.abstask import AbsTask
from mteb.models.abs_encoder import AbsEncoder

from components.base.errors import UserError
from components.benchmark.adapter import FoundryModel
from components.benchmark.prompts import prompt_table
from components.benchmark.tasks import ENGLISH, load_benchmark, mteb_task, mteb_task_names, name_sides, scope
from components.config import EvaluateParams, ShotParams, benchmark_tasks
from components.contracts.shots import TaskPrompt
from components.evaluation.planner import Way, task_texts
from components.evaluation.runner import evaluate_task
from tests.benchmark.standins import Shape, write_standins
from tests.benchmark.test_prompts import recipe, trained_prompts
from tests.evaluation.fakes import HashEncoder

NAMES = sorted(benchmark_tasks())  # mteb's own list takes seconds to make
DRAWN = 256  # documents of a k-means run; 16,384 would take minutes


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand-ins of all data sets; what `datasets` caches of them goes to a folder of its own."""
    folder = tmp_path_factory.mktemp("mirror")
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, folder / "cache"
    yield write_standins(folder / "data", shapes={name: Shape(distinct=0.7, empty=0.08) for name in NAMES})
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture(scope="module")
def prompts(mirror: Path) -> dict[str, TaskPrompt]:
    return seven_b_prompts(mirror)


def seven_b_prompts(mirror: Path) -> dict[str, TaskPrompt]:
    """The prompts of the 7B recipe with a shot for every task: chosen for a training task, or stated."""
    benchmark = load_benchmark(EvaluateParams(benchmark="MTEB(eng, v2)", mirror=str(mirror)), mirror)
    trained = trained_prompts(recipe())
    served = {name for one in trained.values() for name in one.serves}
    stated = {name: [ShotParams(query="an example", response="its answer")] for name in set(NAMES) - served}
    table = prompt_table(benchmark, trained, stated)
    assert len(table) == 41
    assert all(one.prompt.shots for one in table.values())
    return {name: one.prompt for name, one in table.items()}


def foundry(prompts: dict[str, TaskPrompt]) -> FoundryModel:
    return FoundryModel("m", HashEncoder(), dict(prompts), {})


class PlainModel(AbsEncoder):
    """The same encoder and prompts for mteb's own search, de-duplicating nothing."""

    def __init__(self, foundry: FoundryModel) -> None:
        self.foundry, self.mteb_model_meta = foundry, foundry.mteb_model_meta

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **kwargs: Any) -> np.ndarray:
        return self.foundry.encode(
            inputs, task_metadata=task_metadata, hf_split="", hf_subset="", prompt_type=prompt_type
        )


def small(task: AbsTask) -> AbsTask:
    if isinstance(task, AbsTaskClustering):
        task.max_documents_per_cluster = DRAWN
    if isinstance(task, AbsTaskClassification):
        task.n_experiments = 3  # draws of examples to fit on, of mteb's 10
    return task


def plain_task(name: str, mirror: Path) -> AbsTask:
    """mteb's own class and data loader."""
    task = mteb.get_task(name, **scope(ENGLISH, name))
    where = {**task.metadata.dataset, "path": str(mirror / task.metadata.dataset["path"])}
    task.metadata = task.metadata.model_copy(update={"dataset": where})
    return small(name_sides(task))


@pytest.mark.slow  # all 41 together
@pytest.mark.parametrize("name", NAMES)
def test_score_and_plan(name: str, mirror: Path, prompts: dict[str, TaskPrompt], tmp_path: Path) -> None:
    model, plain = foundry(prompts), foundry(prompts)
    make = partial(mteb_task, name, mirror)
    evaluate_task(model, lambda: small(make()), tmp_path)
    ours = mteb.results.TaskResult.from_disk(tmp_path / name / f"{name}.json").get_score()
    options: dict[str, Any] = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    found = mteb.evaluate(PlainModel(plain), plain_task(name, mirror), **options)  # type: ignore[arg-type]  # no __init__
    assert ours == pytest.approx(found.task_results[0].get_score(), abs=5.01e-7)  # ours is rounded
    assert 0 < ours < 1
    task = small(make())
    task.load_data()
    assert set(asked(plain)) == {
        (way, text) for way, texts in task_texts(task, model.prompts[name]).items() for text in texts
    }


def asked(model: FoundryModel) -> Iterator[tuple[Way, str]]:
    """Every text the model was asked to embed, and how."""
    assert isinstance(model.encoder, HashEncoder)
    for side, texts, instruction, shots in model.encoder.calls:
        way = Way(document=True) if side == "document" else Way(False, instruction, shots)
        yield from ((way, text) for text in texts)


@pytest.mark.slow
def test_every_task_has_its_own_instruction(prompts: dict[str, TaskPrompt]) -> None:
    assert set(prompts) == set(NAMES) == set(mteb_task_names("MTEB(eng, v2)"))
    assert all(len(prompt.instruction) > 20 for prompt in prompts.values())


@pytest.mark.parametrize("name", ["AskUbuntuDupQuestions", "MindSmallReranking"])
def test_reranking_without_its_candidates_is_refused(name: str, tmp_path: Path) -> None:
    write_standins(tmp_path, [name])
    readme = next(tmp_path.rglob("README.md"))
    text = readme.read_text()
    readme.write_text(text[: text.index("- config_name: top_ranked")] + "---\n")
    with pytest.raises(UserError, match=r"top_ranked|candidate"):
        evaluate_task(foundry(seven_b_prompts(tmp_path)), partial(mteb_task, name, tmp_path), tmp_path / "out")


def test_a_data_set_missing_from_the_mirror_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mteb/arguana: missing"):
        mteb_task("ArguAna", tmp_path)
