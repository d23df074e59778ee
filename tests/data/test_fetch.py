"""fetch: sources in our columns, models in their folders, and a data card that says where each came from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.base.errors import UserError
from components.base.hashing import content_hash
from components.config import FetchParams, ModelParams, SourceParams
from components.data import fetch
from components.data.local_files import write_list
from components.stage.context import StageContext
from tests.data.conftest import MakeContext, local, write_jsonl
from tests.hub import REVISION, Hub


def run(context: StageContext, **sections: Any) -> dict[str, Any]:
    params = FetchParams.model_validate({"sources": {}, "models": {}, **sections})
    config = context.config.model_copy(update={"fetch": params})
    context.out.mkdir(exist_ok=True)
    write_list(params, context.outputs, context.cache.parent)
    fetch.run(replace(context, config=config))
    return json.loads((context.out / "data_card.json").read_text())


def test_source_and_card(tmp_path: Path, make_context: MakeContext) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"q": "a", "d": "b"}, {"q": "a", "d": "b"}, {"q": " ", "d": "c"}])
    source = local(file, fields={"query": "q", "document": "d"}, drop_empty=True, drop_duplicates=True)
    card = run(make_context({}, {}), sources={"mine": source})
    assert pl.read_parquet(tmp_path / "out" / "sources" / "mine.parquet").to_dicts() == [
        {"query": "a", "document": "b"}
    ]
    entry = card["sources"]["mine"]
    assert (entry["origin"], entry["licence"], entry["rows_read"], entry["rows_kept"]) == ("local", "CC0", 3, 1)
    assert (entry["rows_dropped_empty"], entry["rows_dropped_duplicate"]) == (1, 1)
    assert len(entry["sha256"]) == 64


def test_the_copies_of_own_files_that_are_gone_give_the_same_bytes(tmp_path: Path, make_context: MakeContext) -> None:
    file, model = write_jsonl(tmp_path / "in" / "in.jsonl", [{"query": "a", "document": "b"}]), tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "deep" / "weights").write_text("1")
    origins = {"file": str(file), "folder": str(file.parent), "glob": f"{file.parent}/*.jsonl"}
    sections = {
        "sources": {name: local(path) for name, path in origins.items()},
        "models": {"student": {"origin": local(model)["origin"]}},
    }
    context = make_context({}, {})
    run(context, **sections)
    first = content_hash(context.out)
    for gone in (context.out, context.work, file.parent, model):
        shutil.rmtree(gone)
    params = FetchParams.model_validate(sections)
    context.out.mkdir()
    fetch.run(replace(context, config=context.config.model_copy(update={"fetch": params})))
    assert content_hash(context.out) == first


def test_a_broken_source_is_named(tmp_path: Path, make_context: MakeContext) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"query": "a", "document": ""}])
    with pytest.raises(UserError, match=r"^fetch\.sources\.mine: .*in\.jsonl: row 1: field document: empty"):
        run(make_context({}, {}), sources={"mine": local(file)})
    with pytest.raises(UserError, match=r"^fetch\.sources\.mine\.origin\.path: .*none\.jsonl: no such file or folder"):
        run(make_context({}, {}), sources={"mine": local(tmp_path / "none.jsonl")})


def test_what_is_not_read_is_told_once_and_counted_in_the_card(
    tmp_path: Path, make_context: MakeContext, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [{"query": "q", "document": str(n), "score": n, "note": "x"} for n in range(3)]
    file = write_jsonl(tmp_path / "in.jsonl", [*pairs, {"query": "q", "document": "d", "score": None}])
    source = local(file, on_missing="skip", min_relevance=2)
    entry = run(make_context({}, {}), sources={"mine": source})["sources"]["mine"]
    assert capsys.readouterr().out == "fetch.sources.mine: columns that nothing reads: note\n"
    assert (entry["rows_read"], entry["rows_kept"], entry["rows_dropped_missing"]) == (4, 3, 1)
    assert (entry["rows_below_min_relevance"], entry["columns_not_read"]) == (1, ["note"])


def test_files_of_other_endings_are_told(
    tmp_path: Path, make_context: MakeContext, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "in/a.jsonl", [{"query": "a", "document": "b"}])
    (tmp_path / "in/README.md").write_text("what this is")
    card = run(make_context({}, {}), sources={"mine": local(tmp_path / "in")})
    said = "fetch.sources.mine.origin.path: skipped, no extension of format jsonl: README.md\n"
    assert capsys.readouterr().out == said
    (tmp_path / "in/README.md").write_text("what else this is")
    assert run(make_context({}, {}), sources={"mine": local(tmp_path / "in")}) == card


def test_a_source_that_is_edited_while_it_is_read_is_refused(
    tmp_path: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_jsonl(tmp_path / "in.jsonl", [{"query": "a", "document": "b"}])
    read_source = fetch.read_source

    def edited_meanwhile(*arguments: Any) -> Any:
        rows = read_source(*arguments)
        file.write_text(file.read_text() * 2)
        return rows

    monkeypatch.setattr(fetch, "read_source", edited_meanwhile)
    with pytest.raises(
        UserError, match=r"^fetch\.sources\.mine\.origin: .*in\.jsonl: changed during the run; run again"
    ):
        run(make_context({}, {}), sources={"mine": local(file)})
    assert not (tmp_path / "out" / "data_card.json").exists()


def test_a_local_model_is_copied(tmp_path: Path, make_context: MakeContext) -> None:
    (tmp_path / "model" / "1_Pooling").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text("{}")
    origin = {"kind": "local", "path": str(tmp_path / "model"), "licence": "MIT"}
    card = run(make_context({}, {}), models={"student": {"origin": origin}})
    assert (tmp_path / "out" / "models" / "student" / "1_Pooling" / "config.json").is_file()
    assert card["models"]["student"]["licence"] == "MIT"
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(UserError, match=r"fetch\.models\.student\.origin\.path: no config\.json in it"):
        fetch.fetch_model(
            ModelParams.model_validate({"origin": origin}),
            "fetch.models.student.origin",
            tmp_path / "x",
            tmp_path,
            seed=0,
        )


def test_a_hub_model_stays_in_the_hubs_cache(tmp_path: Path, make_context: MakeContext, hub: Hub) -> None:
    hub.add("model", "some/model", {"config.json": b"{}", "model.safetensors": b"x", "pytorch_model.bin": b"y"})
    origin = {"kind": "hub", "repo": "some/model", "revision": REVISION, "path": ["*.json", "*.safetensors"]}
    card = run(make_context({}, {}), models={"student": {"origin": {**origin, "licence": "MIT"}}})
    pointer = json.loads((tmp_path / "out" / "models" / "student" / "hub.json").read_text())
    files = ["config.json", "model.safetensors"]
    assert pointer == {"repo": "some/model", "revision": REVISION, "files": files}
    assert card["models"]["student"]["version"] == f"some/model@{REVISION}"
    assert sorted(hub.downloads()) == files


def test_nothing_is_downloaded_when_anything_is_wrong_and_models_come_first(
    tmp_path: Path, make_context: MakeContext, hub: Hub
) -> None:
    hub.add("model", "some/model", {"config.json": b"{}"})
    hub.add("dataset", "some/rows", {"a.jsonl": b'{"query": "a", "document": "b"}\n'})
    pinned = {"kind": "hub", "revision": REVISION, "licence": "MIT"}
    rows = {"origin": {**pinned, "repo": "some/rows", "path": "a.jsonl"}, "format": "jsonl"}
    sections = {"models": {"student": {"origin": {**pinned, "repo": "some/model"}}}, "sources": {"mine": rows}}
    hub.gated.add("some/rows")
    with pytest.raises(UserError, match=r"^fetch\.sources\.mine\.origin\.repo: some/rows: access is gated; "):
        run(make_context({}, {}), **sections)
    assert hub.downloads() == []
    hub.gated.clear()
    run(make_context({}, {}), **sections)
    assert hub.downloads() == ["config.json", "a.jsonl"]


def test_a_killed_fetch_goes_on_with_the_next_source(
    tmp_path: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {name: local(write_jsonl(tmp_path / name, [{"query": name, "document": "b"}])) for name in ("one", "two")}
    fetch_source, fetched = fetch.fetch_source, []

    def killed_at_two(params: SourceParams, key: str, *rest: Any) -> dict[str, Any]:
        if key == "fetch.sources.two.origin" and key not in fetched:
            fetched.append(key)
            raise KeyboardInterrupt
        fetched.append(key)
        return fetch_source(params, key, *rest)

    monkeypatch.setattr(fetch, "fetch_source", killed_at_two)
    with pytest.raises(KeyboardInterrupt):
        run(make_context({}, {}), sources=sources)
    card = run(make_context({}, {}), sources=sources)
    assert fetched == ["fetch.sources.one.origin", "fetch.sources.two.origin", "fetch.sources.two.origin"]
    assert [entry["rows_kept"] for entry in card["sources"].values()] == [1, 1]
    for name in ("one", "two"):
        assert pl.read_parquet(tmp_path / "out" / "sources" / f"{name}.parquet")["query"].to_list() == [name]


def test_every_source_states_its_licence() -> None:
    for licence in ({}, {"licence": ""}):
        with pytest.raises(ValueError, match="licence"):
            SourceParams.model_validate({"origin": {"kind": "local", "path": "x", **licence}, "format": "jsonl"})
