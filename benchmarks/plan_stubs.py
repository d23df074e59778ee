"""Stages that plan_stages measures with stub models: retrieve, select_shots and evaluate; and fetch, which has none.

Each `run_` function runs the stage as it is in this process. Vectors are random, of HIDDEN numbers; the store, its
index, the search, mteb and the tables are the product's.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from benchmarks import scale_mine, scale_prepare
from benchmarks.scale_stage import DEPTH
from components.config import Bm25Params, DenseTeacherParams, EngineParams, RetrieveParams, parse_config
from components.contracts.shots import Shot
from components.contracts.tables import QUERIES, write_table
from components.contracts.tasks import Task, write_tasks
from components.model.sentence_model import SentenceSource, Side, text_key
from components.model.stored_embedder import StoredEmbedder
from components.model.vector_store import VectorStore
from components.stage.context import StageContext
from tests.evaluation.fakes import WordPrompt
from tests.samples import small_parameters

HIDDEN = 384  # as the starter's dense teacher has
ASKED = 500  # queries of the benchmark that evaluate is given: the hits of a query do not grow with the documents


class StubPrompt(WordPrompt):
    """Words as tokens; nothing is cut."""

    def clip(self, text: str) -> str:
        """The text."""
        return text


class StubModel(StoredEmbedder):
    """In place of SentenceModel and Encoder: random vectors."""

    query, document = Side("", "query"), Side("", "document")
    prompt = StubPrompt()

    def encode(self, texts: Sequence[str], side: Side) -> np.ndarray:
        """float32 [n, HIDDEN]."""
        return self._encode(texts, side)

    def encode_queries(self, texts: Sequence[str], instruction: str, shots: Sequence[Shot] = ()) -> np.ndarray:
        """float32 [n, HIDDEN]."""
        return self._encode(texts, Side(instruction + "".join(shot.query for shot in shots), "query"))

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, HIDDEN]."""
        return self._encode(texts, self.document)

    def _keyed(self, texts: list[str], way: Side) -> tuple[list[str], list[str]]:
        return texts, [text_key(way, text) for text in texts]

    def _embed(self, inputs: list[str], way: Side) -> np.ndarray:
        drawn = np.random.default_rng(len(inputs[0])).standard_normal((len(inputs), HIDDEN), dtype=np.float32)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def load_stub(source: Any) -> StubModel:
    """In place of SentenceSource.load and EncoderSource.load."""
    identity = f"stub {getattr(source, 'adapter', None)}"
    return StubModel("a model", identity, HIDDEN, VectorStore(source.store, identity))


def retrieve_params() -> RetrieveParams:
    """BM25 and one dense teacher."""
    stub = {"dense_teacher": DenseTeacherParams()}
    return RetrieveParams(depth=DEPTH, dense=stub, bm25=Bm25Params(), engine=EngineParams(workers=0))


def run_retrieve(outputs: Path) -> None:
    """BM25, the search and the fusion."""
    from components.teacher import retrieve

    SentenceSource.load = load_stub  # type: ignore[method-assign,assignment]  # the model alone is not the product's
    for folder in ("retrieve", "work"):
        (outputs / folder).mkdir(parents=True)
    config = SimpleNamespace(seed=7, threads=0, retrieve=retrieve_params())
    folders = {name: outputs / name for name in ("work", "cache")}
    context: Any = SimpleNamespace(outputs=outputs, out=outputs / "retrieve", config=config, **folders)
    retrieve.run(context)


def make_source(place: Path, documents: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A Parquet file of pairs, two documents a query; returns its texts: (query, document), one row a pair."""
    frame = pl.concat(scale_prepare.blocks(documents // 2, []))
    place.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(place / "pairs.parquet")
    return frame.select(text="query"), frame.select(text="document")


def run_fetch(root: Path) -> None:
    """One source of this machine; no model, whose files are copied and never held."""
    from components.config import FetchParams
    from components.data import fetch, local_files

    origin = {"kind": "local", "path": str(root / "pairs.parquet"), "licence": "none"}
    sources = {"large": {"origin": origin, "format": "parquet"}}
    params = FetchParams.model_validate({"sources": sources, "models": {}})
    local_files.write_list(params, root / "outputs", root)
    config: Any = SimpleNamespace(seed=7, fetch=params)
    fetch.run(_context(root, "fetch", config))


def make_tasks(prepared: Path) -> None:
    """tasks.yaml of scale_mine's tables, and nothing held out for the benchmark."""
    (prepared / "benchmark").mkdir(exist_ok=True)
    tasks = [Task(name, "retrieval", "Find it", False, 1.0, "none", "random") for name in scale_mine.TASKS]
    write_tasks(tasks, prepared / "tasks.yaml")


def run_select_shots(root: Path) -> None:
    """Two strategies and one shot, on tables that `make_prepared` wrote to outputs/prepare."""
    from components.fewshot import select_shots

    _stub_both()
    settings: dict[str, Any] = {"strategies": ["random", "diverse"], "max_shots": 1, "engine": {"workers": 0}}
    changes = {f"select_shots.{name}": value for name, value in settings.items()}
    config = parse_config(small_parameters(**changes, **{"train.shots": {"max": 1}}), "plan")
    select_shots.run(_context(root, "select_shots", config))


def make_benchmark(outputs: Path, documents: int) -> None:
    """outputs/prepare and outputs/select_shots as evaluate reads them: one retrieval task, no shots chosen."""
    folder = outputs / "prepare" / "benchmark"
    folder.mkdir(parents=True)
    texts = scale_prepare.texts_of(documents, scale_prepare.WORDS, 1)
    names = [f"d{i:08d}" for i in range(documents)]
    pl.DataFrame({"doc_id": names, "text": texts}).write_parquet(folder / "find.corpus.parquet")
    asked = {"query_id": [f"q{i}" for i in range(ASKED)], "text": scale_prepare.texts_of(ASKED, 10, 2)}
    pl.DataFrame(asked).write_parquet(folder / "find.queries.parquet")
    judged = {"query_id": asked["query_id"], "doc_id": names[:ASKED], "relevance": [1.0] * ASKED}
    pl.DataFrame(judged).write_parquet(folder / "find.qrels.parquet")
    write_tasks([Task("find", "retrieval", "Find it", False, 1.0, "none", "random")], folder / "tasks.yaml")
    row = {"row": [0], "query_id": ["q"], "text": ["t"], "task": ["find"], "split": ["train"], "label": [None]}
    write_table(pl.DataFrame(row), outputs / "prepare" / "queries.parquet", QUERIES)
    (outputs / "select_shots").mkdir()
    (outputs / "select_shots" / "shots.yaml").write_text(json.dumps({}), encoding="utf-8")


def run_evaluate(root: Path) -> None:
    """Three models, one after the other, scored in this process."""
    from components.evaluation import evaluate

    _stub_both()
    changes = {"evaluate.engine": {"workers": 0}, "evaluate.scoring_processes": 0}
    evaluate.run(_context(root, "evaluate", parse_config(small_parameters(**changes), "plan")))


def _stub_both() -> None:
    from components.model.encoder import EncoderSource

    SentenceSource.load = load_stub  # type: ignore[method-assign,assignment]
    EncoderSource.load = load_stub  # type: ignore[method-assign,assignment]


def _context(root: Path, stage: str, config: Any) -> StageContext:
    out = root / "outputs" / stage
    for folder in (out, root / "work"):
        folder.mkdir(parents=True, exist_ok=True)
    folders = {"outputs": root / "outputs", "work": root / "work", "cache": root / ".cache"}
    return StageContext(config=config, out=out, log=lambda metrics, step: None, **folders)
