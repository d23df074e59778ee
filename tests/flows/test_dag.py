"""The flow's graph is DVC's."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from flows.dag import read_dag, run_dvc, select, stale_stages


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_graph_targets_and_staleness(toy: Path) -> None:
    dag = read_dag(toy)
    assert list(dag) == ["source", "left", "right", "join"]
    assert dag["join"].needs == ("left", "right")
    assert [name for name, stage in dag.items() if stage.gpu] == ["join"]
    assert list(select(dag, ["left"])) == ["source", "left"]
    with pytest.raises(UserError, match=r"middle: no such stage in dvc.yaml; stages: source, left"):
        select(dag, ["middle"])
    assert stale_stages(toy, dag) == set(dag)


def test_the_project_s_own_graph() -> None:
    dag = read_dag(Path(__file__).parents[2])
    assert dag["register"].publishes
    assert dag["train"].gpu
    assert set(dag["mine"].needs) >= {"prepare", "score"}


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_dvc_s_own_words_on_failure(toy: Path) -> None:
    with pytest.raises(UserError, match="dvc status: "):
        run_dvc(toy, "status", "no-such-stage")
