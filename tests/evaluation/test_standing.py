"""Standing: recorded figures, the in-domain share by mteb's rule, and a refresh from a results checkout."""

import json
from pathlib import Path

import polars as pl
import pytest

from components.base.errors import UserError
from components.evaluation.standing import in_domain_tasks, public_scores, public_standing, rank_among_public, refresh
from tests.command import foundry

LGAI = "annamodels/LGAI-Embedding-Preview"


def scores_of(model: str) -> tuple[dict[str, float], dict[str, str]]:
    rows = public_scores().filter(pl.col("model") == model)
    return dict(rows.select("task", "score").iter_rows()), dict(rows.select("task", "task_type").iter_rows())


def test_recorded_figures_are_reproduced() -> None:
    place = public_standing(LGAI)
    assert round(100 * place.mean_task, 2) == 74.12
    assert round(100 * place.mean_type, 2) == 68.40
    assert (place.borda_rank, place.models) == (6, 317)
    assert round(100 * place.categories["Classification"], 2) == 89.97


@pytest.mark.parametrize(("gain", "rank"), [(-1.0, 10), (0.5, 3), (1.0, 2), (1.5, 1)])
def test_rank_among_public_models_moves_with_the_scores(gain: float, rank: int) -> None:
    scores, categories = scores_of(LGAI)
    place = rank_among_public({task: score + gain / 100 for task, score in scores.items()}, categories)
    assert (place.borda_rank, place.models) == (rank, 318)


def test_no_rank_without_the_whole_benchmark() -> None:
    scores, categories = scores_of(LGAI)
    del scores["STS12"]
    place = rank_among_public(scores, categories)
    assert place.borda_rank is None
    assert place.mean_task == pytest.approx(sum(scores.values()) / 40)


def test_unknown_public_model_is_an_error() -> None:
    with pytest.raises(UserError, match="no rows of 'nobody/none'"):
        public_standing("nobody/none")


def test_in_domain_follows_adaptations_names_and_paths() -> None:
    tasks = ["ArguAna", "FiQA2018", "HotpotQAHardNegatives", "MedrxivClusteringP2P.v2", "STS22.v2"]
    assert in_domain_tasks(tasks, ["HotpotQA", "mteb/fiqa", "medrxivclusteringp2p", "my own data"]) == tasks[1:4]
    assert in_domain_tasks(tasks, []) == []


def test_in_domain_share_equals_mteb_s_zero_shot_share() -> None:
    import mteb

    tasks = sorted(scores_of(LGAI)[0])
    meta = mteb.get_model_meta(LGAI)
    assert meta.training_datasets
    share = 100 * (1 - len(in_domain_tasks(tasks, meta.training_datasets)) / len(tasks))
    assert int(share) == meta.zero_shot_percentage([mteb.get_task(task) for task in tasks])


def write_result(checkout: Path, model: str, task: str, subsets: dict[str, float], revision: str = "r1") -> None:
    folder = checkout / "results" / model.replace("/", "__") / revision
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_meta.json").write_text(json.dumps({"name": model, "revision": revision}))
    rows = [{"hf_subset": name, "languages": ["eng-Latn"], "main_score": score} for name, score in subsets.items()]
    result = {"dataset_revision": "d", "task_name": task, "mteb_version": "2.1.0", "scores": {"test": rows}}
    (folder / f"{task}.json").write_text(json.dumps({**result, "evaluation_time": 1.0, "kg_co2_emissions": None}))


def test_refresh_reads_a_checkout(tmp_path: Path) -> None:
    checkout = tmp_path / "results-main"
    write_result(checkout, LGAI, "STS12", {"default": 0.71234567})
    write_result(checkout, LGAI, "STS17", {"en-en": 0.9, "fr-en": 0.1})  # the benchmark takes en-en alone
    write_result(checkout, LGAI, "SciFact", {"default": 0.5})  # no task of the benchmark
    write_result(checkout, "nobody/unregistered", "STS12", {"default": 0.99})
    table = refresh(checkout, tmp_path / "first")
    assert table.select("model", "task", "task_type", "score").rows() == [
        (LGAI, "STS12", "STS", 0.712346),
        (LGAI, "STS17", "STS", 0.9),
    ]
    refresh(checkout, tmp_path / "again")
    packed = [(tmp_path / name / "mteb_eng_v2.csv.gz").read_bytes() for name in ("first", "again")]
    assert packed[0] == packed[1]
    assert pl.read_csv(tmp_path / "first" / "mteb_eng_v2.csv.gz").equals(table)
    assert "1 public models on the 2 tasks" in (tmp_path / "first" / "mteb_eng_v2.md").read_text()


def test_refresh_refuses_what_is_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert foundry("public-scores", str(tmp_path)) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: no folder results/; clone https://github.com/embeddings-benchmark/results\n"
    )
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match="no result file"):
        refresh(tmp_path, tmp_path / "out")
