"""The full-size recipe's 34 sources and 3 models, cut down, from a stand-in of the hub through fetch to mine."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from components.config import Config, parse_config
from components.config.extends import read_parameters
from components.contracts.tables import QUERIES, TRIPLETS, read_table
from components.data.local_files import write_list
from components.stage.context import StageContext
from components.stage.stages import stage_function
from tests.hub import REVISION, Hub
from tests.hub_recipe import add_model, add_recipe
from tests.models import make_tiny_student
from tests.samples import ROOT
from tests.teacher.conftest import make_dense_teacher, make_reranker

ROWS = 300
STAGES = ("fetch", "prepare", "retrieve", "score", "mine")


def cut_down() -> Config:
    """The recipe with small splits, short texts and shallow searches; sources, shapes, kinds and rules are its own."""
    raw = read_parameters(ROOT / "recipes" / "mistral-7b.yaml")
    raw["threads"] = 1
    raw["prepare"]["decontaminate"]["benchmark"] = None  # mteb's data sets are not on the stand-in
    for task in raw["prepare"]["tasks"].values():
        task.update(train=12, dev=4, max_words=16)
        if "dev_documents" in task:
            task["dev_documents"] = 20
    raw["retrieve"]["depth"] = 5
    raw["retrieve"]["dense"]["dense_teacher"]["max_tokens"] = 32
    raw["score"]["max_tokens"] = 64
    raw["mine"]["margin"] = 1.0  # random weights give every pair nearly the same score
    raw["encoder"].update(device="cpu", precision="fp32")
    return parse_config(raw, "the cut-down recipe")


@pytest.mark.slow
def test_the_full_size_recipe_runs_from_fetch_to_mine(hub: Hub, tmp_path: Path) -> None:
    config = cut_down()
    assert len(config.fetch.sources) == 33
    add_recipe(hub, config, ROWS)
    add_model(hub, "mistralai/Mistral-7B-v0.1", make_tiny_student(tmp_path / "student"))
    add_model(hub, "Qwen/Qwen3-Embedding-0.6B", make_dense_teacher(tmp_path / "dense"))
    add_model(hub, "BAAI/bge-reranker-v2-m3", make_reranker(tmp_path / "reranker"))
    add_model(hub, "mixedbread-ai/mxbai-rerank-large-v1", make_reranker(tmp_path / "judge"))
    hub.repos["model", "mistralai/Mistral-7B-v0.1"]["tokenizer.model"] = b"not read"
    folders = {name: tmp_path / name for name in ("outputs", "work", "cache")}
    write_list(config.fetch, folders["outputs"], tmp_path)
    for stage in STAGES:
        out = folders["outputs"] / stage
        out.mkdir()
        context = StageContext(config=config, out=out, log=lambda metrics, step: None, **folders)
        metrics = stage_function(stage)(replace(context, work=folders["work"] / stage))
        if stage == "fetch":
            assert metrics["rows"] > 33 * ROWS * 0.9
    names = {one.rpartition("/")[2] for one in hub.downloads()}
    assert "msmarco_passage-00000-of-00001.parquet" in names
    assert not names & {"1.json", "test.jsonl"}
    queries = read_table(folders["outputs"] / "prepare" / "queries.parquet", QUERIES)
    assert queries["task"].n_unique() == 33
    mined = read_table(folders["outputs"] / "mine" / "triplets.parquet", TRIPLETS)
    tasks = mined.join(queries.select(query="row", task="task"), on="query")["task"].unique()
    assert set(tasks) == set(queries.filter(pl.col("split") == "train")["task"])
    pointer = yaml.safe_load((folders["outputs"] / "fetch" / "models" / "dense_teacher" / "hub.json").read_text())
    assert pointer["revision"] != REVISION  # the recipe's own pin
