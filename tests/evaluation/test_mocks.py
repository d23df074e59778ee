"""Every task type of mteb: the main score of its text mocks is plain mteb's, and their example rows average to it."""

import json
from pathlib import Path

import mteb
import polars as pl
import pytest
from mteb.abstasks.abstask import AbsTask
from mteb.mocks import ALL_MOCK_TASK_TEST_GRID

from components.benchmark.adapter import FoundryModel, TaskPrompt
from components.evaluation.planner import task_texts
from components.evaluation.runner import evaluate_task, join_examples
from components.model.prompt import Shot
from tests.evaluation.fakes import HashEncoder
from tests.evaluation.test_all_tasks import PlainModel

MOCKS = {type(task).__name__: type(task) for task in ALL_MOCK_TASK_TEST_GRID if task.metadata.modalities == ["text"]}


def test_mteb_has_the_mocks_that_we_know_of() -> None:
    assert len(MOCKS) == 28  # 29 entries; one occurs twice


@pytest.mark.slow
@pytest.mark.parametrize("mock", MOCKS.values(), ids=MOCKS)
@pytest.mark.filterwarnings("ignore")
def test_main_score_is_plain_mtebs(mock: type[AbsTask], tmp_path: Path) -> None:
    name = mock().metadata.name
    prompt = TaskPrompt("Find it", shots=(Shot("an example", "its answer"),))
    model, plain = (FoundryModel("m", HashEncoder(), {name: prompt}, {}) for _ in range(2))
    evaluate_task(model, mock, tmp_path)
    ours = json.loads((tmp_path / name / f"{name}.summary.json").read_text())["score"]
    options = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    found = mteb.evaluate(PlainModel(plain), mock(), **options)  # type: ignore[call-overload]  # mteb's own overloads
    assert ours == pytest.approx(found.task_results[0].get_score(), abs=1e-6)
    examples = pl.read_parquet(tmp_path / name / f"{name}.examples.parquet")
    assert examples.is_empty() or examples["score"].mean() == pytest.approx(ours, abs=1e-5)
    assert examples.select(pl.struct("example_id", "replicate").is_unique().all()).item()
    task = mock()
    task.load_data()
    task_texts(task, prompt)  # plans what it can, and fails for no type


def test_parts_of_unequal_size_average_to_the_mean_of_their_scores() -> None:
    def part(*scores: float) -> pl.DataFrame:
        return pl.DataFrame({"example_id": [str(i) for i in range(len(scores))], "score": scores, "replicate": 0})

    both = join_examples({"test/en": part(1.0, 0.0, 0.0, 0.0), "test/de": part(1.0, 1.0)})
    assert both["score"].mean() == pytest.approx((0.25 + 1) / 2)
    assert both["example_id"].to_list() == [
        "test/en/0",
        "test/en/1",
        "test/en/2",
        "test/en/3",
        "test/de/0",
        "test/de/1",
    ]
    assert join_examples({"a": part(1.0), "b": part()}).is_empty()
