"""Both ways: a version names what it came from, a file names every model made from it."""

from pathlib import Path

import pytest

from components.base.errors import UserError
from components.tracking.lineage import Node, Registry, of_md5, of_version
from components.tracking.store import connect
from tests.tracking.stores import NAME, add_version


@pytest.fixture
def registry(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    from components.tracking import lineage

    uri = f"sqlite:///{store}"
    client = connect(uri)
    add_version(uri, tmp_path, 0.6, 0, {"md5:outputs/prepare": "a" * 32 + ".dir", "git.commit": "f" * 40})
    experiment = client.get_experiment_by_name("embedding-foundry")
    assert experiment is not None
    client.create_run(
        experiment.experiment_id, run_name="prepare", tags={"dvc.stage": "prepare", "dvc.out.md5": "a" * 32 + ".dir"}
    )
    listing = tmp_path / "cache" / "aa" / ("a" * 30 + ".dir")
    listing.parent.mkdir(parents=True)
    listing.write_text('[{"md5": "' + "b" * 32 + '", "relpath": "corpus.parquet"}]')
    monkeypatch.setattr(lineage, "_dvc_cache", lambda root: tmp_path / "cache")
    return Registry(client, uri, tmp_path)


def test_version_tree_names_data_and_the_run_that_made_it(registry: Registry) -> None:
    tree = "\n".join(of_version(registry, NAME, "1").lines())
    assert f"outputs/prepare  {'a' * 32}.dir" in tree
    assert "run prepare" in tree
    assert "make reproduce RUN=1" in tree
    assert "git fetch origin 'refs/runs/*:refs/runs/*'" in tree


def test_a_file_inside_a_folder_leads_to_the_model(registry: Registry) -> None:
    registry.client.set_registered_model_alias(NAME, "production", "1")
    tree = "\n".join(of_md5(registry, "b" * 32).lines())
    assert f"in folder {'a' * 32}.dir" in tree
    assert "made by run prepare" in tree
    assert f"model {NAME} version 1 (production)" in tree
    with pytest.raises(UserError, match="no run and no model version"):
        of_md5(registry, "c" * 32)


def test_tree_is_drawn() -> None:
    tree = Node("top", [Node("a", [Node("b")]), Node("c")])
    assert tree.lines() == ["top", "├─ a", "│  └─ b", "└─ c"]
