"""Pipelines beside each other: in the terminal, and in the view that MLflow shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.tracking.compare import compare_runs
from components.tracking.headlines import NAMES
from components.tracking.store import EXPERIMENT, connect, experiment_id
from components.tracking.view import ONLY_PIPELINES, save_view


@pytest.fixture
def client(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    return connect(f"sqlite:///{store}")


def add_run(client: Any, begin: int, kind: str, steps: str, score: float) -> None:
    tags = {"foundry.kind": kind, "git.run": f"run-{begin}", "recipe": "starter", "data": "fiqa", "mlflow.user": "ann"}
    experiment = experiment_id(client, "", EXPERIMENT)
    run = client.create_run(experiment, start_time=begin, tags=tags)
    for name, value in (("train.steps", steps), ("seed", "1")):
        client.log_param(run.info.run_id, name, value)
    client.log_metric(run.info.run_id, "evaluate/trained.mean", score)
    client.set_terminated(run.info.run_id, "FINISHED")


def test_the_terminal_shows_pipelines_only_and_what_differs(client: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pipeline has run here; start one: make run"):
        compare_runs(tmp_path, [], 4)
    add_run(client, 1, "pipeline", "50", 0.5)
    add_run(client, 2, "pipeline", "60", 0.75)
    add_run(client, 3, "stage", "70", 0.9)
    rows = {line.split("  ")[0]: line.split() for line in compare_runs(tmp_path, [], 4)}
    assert rows["run"] == ["run", "run-2", "run-1"], "the newest first, without stages"
    assert rows["by"] == ["by", "ann", "ann"]
    assert rows["evaluate/trained.mean"] == ["evaluate/trained.mean", "0.75", "0.5", "(-0.25)"]
    assert rows["train.steps"] == ["train.steps", "60", "50"]
    assert "seed" not in rows, "the same in both"
    assert compare_runs(tmp_path, ["run-1"], 4)[0].split() == ["run", "run-1"]
    for wanted, problem in (("run-", "several pipelines begin so"), ("x", "no such pipeline")):
        with pytest.raises(UserError, match=f"{wanted}: {problem}; `foundry runs` lists them"):
            compare_runs(tmp_path, [wanted], 4)


def test_the_view_has_pipelines_only_and_a_chart_of_each_headline(client: Any) -> None:
    experiment = experiment_id(client, "", EXPERIMENT)
    save_view(client, experiment)
    tags = client.get_experiment(experiment).tags
    state = json.loads(tags["mlflow.sharedViewState.pipelines"])
    assert state["searchFilter"] == ONLY_PIPELINES
    assert "metrics.`evaluate/trained.mean`" in state["selectedColumns"]
    assert [chart["metricKey"] for chart in state["compareRunCharts"]] == list(NAMES[:8])
    assert "viewStateShareKey=pipelines" in tags["mlflow.note.content"]
