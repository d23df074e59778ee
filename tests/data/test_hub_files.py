"""What a run takes from the hub is checked in one go: every repository once, every path, access and the disk."""

from typing import Any, NamedTuple

import pytest

from components.base.errors import UserError
from components.config import FetchParams, HubOrigin
from components.data.hub_files import check_hub_files, choose, missing_bytes, require_hub_files
from tests.hub import REVISION, Hub

SHARDS = [f"data/msmarco_{part}-0000{n}-of-00003.parquet" for part in ("passage", "document") for n in range(3)]
NAMES = [*SHARDS, "data/nq-00000-of-00001.parquet", "data/fever-00000-of-00001.parquet", "README.md"]


def origin(**more: Any) -> HubOrigin:
    return HubOrigin.model_validate({"kind": "hub", "repo": "a/b", "revision": REVISION, "licence": "MIT", **more})


def params(sources: dict[str, Any], models: dict[str, Any] | None = None) -> FetchParams:
    return FetchParams.model_validate(
        {
            "sources": {name: {"origin": origin(**one), "format": "parquet"} for name, one in sources.items()},
            "models": {name: {"origin": origin(**one)} for name, one in (models or {}).items()},
        }
    )


@pytest.fixture
def rows(hub: Hub) -> Hub:
    hub.add("dataset", "a/b", {name: b"x" * 10 for name in NAMES})
    hub.add("model", "a/m", {"config.json": b"{}"})
    return hub


def test_the_first_alternative_that_matches_is_taken() -> None:
    wanted = origin(path="data/msmarco_passage-*.parquet", otherwise=["data/msmarco-*.parquet", "data/ms*.parquet"])
    assert choose(NAMES, wanted, "k") == (SHARDS[:3], "data")
    renamed = [name.replace("_passage", "") for name in NAMES]
    assert choose(renamed, wanted, "k")[0] == [name.replace("_passage", "") for name in SHARDS[:3]]
    assert choose(SHARDS[3:], wanted, "k")[0] == SHARDS[3:]


def test_a_path_that_matches_nothing_names_the_nearest_files() -> None:
    with pytest.raises(UserError) as caught:
        choose(NAMES, origin(path="data/msmarco-*.parquet", otherwise="data/marco.parquet"), "k")
    assert str(caught.value) == (
        f"k.path: a/b at {REVISION} has no file 'data/msmarco-*.parquet' or 'data/marco.parquet'; nearest: "
        "data/msmarco_passage-00000-of-00003.parquet, data/msmarco_document-00000-of-00003.parquet, "
        "data/nq-00000-of-00001.parquet; correct the path"
    )
    with pytest.raises(UserError, match="has no file 'y'; nearest: yy; correct"):
        choose(["x", "yy"], origin(path=["x", "y"]), "k")


def test_otherwise_needs_a_path() -> None:
    with pytest.raises(ValueError, match="otherwise goes with path"):
        origin(otherwise="a")


def test_a_repository_is_asked_for_once_and_shared_files_count_once(rows: Hub) -> None:
    sources = {"one": {"path": "data/msmarco_passage-*"}, "two": {"path": SHARDS[0]}, "three": {"path": "data/nq*"}}
    items = list(check_hub_files(params(sources, {"m": {"repo": "a/m"}})))
    assert [item.key for item in items] == [
        "fetch.models.m.origin",
        *(f"fetch.sources.{name}.origin" for name in sources),
    ]
    assert missing_bytes(items) == 2 + 4 * 10
    asked = [one for one in rows.asked if "/api/" in one and "harnesses" not in one]
    assert len(asked) == len(set(asked)) == 4  # a list and an access check of each
    assert rows.downloads() == []


def test_every_problem_is_told_once(rows: Hub) -> None:
    rows.gated.add("a/m")
    sources = {"x": {"path": "data/x*"}, "nq": {"path": "data/nq*"}, "c": {"repo": "a/c"}, "d": {"repo": "a/c"}}
    items = list(check_hub_files(params(sources, {"m": {"repo": "a/m"}})))
    problems = [item.problem.partition("; ")[0] for item in items]
    assert problems == [
        "fetch.models.m.origin.repo: a/m: access is gated",
        f"fetch.sources.x.origin.path: a/b at {REVISION} has no file 'data/x*'",
        "",
        "fetch.sources.c.origin.repo: a/c: no such repository",
    ]
    with pytest.raises(UserError, match=r"gated.*\(and 2 more: foundry plan --hub lists all\)$"):
        require_hub_files(params(sources, {"m": {"repo": "a/m"}}))


class Usage(NamedTuple):
    free: int


def test_a_disk_that_is_too_small(rows: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(59))
    with pytest.raises(UserError, match=r"^disk: the hub's files need 0\.0 GiB more in .*hub-cache, 0\.0 are free; "):
        require_hub_files(params({"one": {"path": "data/msmarco*"}}))
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(60))
    require_hub_files(params({"one": {"path": "data/msmarco*"}}))


def test_what_the_cache_holds_is_neither_asked_for_nor_counted(rows: Hub) -> None:
    from components.data.hub_files import download_hub_files

    download_hub_files(origin(path="data/nq*"), "k", "dataset")
    rows.asked.clear()
    (item,) = check_hub_files(params({"nq": {"path": "data/nq*"}}))
    assert (missing_bytes([item]), rows.asked) == (0, [])
