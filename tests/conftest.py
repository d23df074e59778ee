"""Shared fixtures: a tiny random Mistral with a byte-level tokenizer, so that GPU code paths run in a blink."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.config import EngineParams
from tests.tracking.stores import make_empty_store
from tests.warm import warm_context

os.environ.setdefault("DO_NOT_TRACK", "true")  # no telemetry of any library from the tests
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two cores shared by test processes: no busy waiting


def make_tiny_student(folder: Path, layers: int = 2, width: int = 32, seed: int = 0) -> Path:
    """A Mistral of `layers` layers with random weights and a byte-level tokenizer, saved like a fetched student."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from components.data.random_model import write_random_mistral

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *alphabet])}
    bytes_tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    bytes_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_tokenizer.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    shape = {
        "vocab_size": len(vocabulary),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    write_random_mistral(folder, shape, seed, torch.float32)
    return folder


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer student."""
    return make_tiny_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests compute on one thread: tiny matrices gain nothing from two, and runs beside each other do not fight."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, which take seconds to make. Do not write to it; copy it."""
    return make_empty_store(tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture
def warm_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools fork their processes; a test that kills one leaves them the product's own start method."""
    from components.stage import executor

    monkeypatch.setattr(executor, "multiprocessing", SimpleNamespace(get_context=lambda method: warm_context()))


@pytest.fixture(scope="session")
def dask_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dask scheduler with two processes as workers; one that is killed is started again."""
    import dask

    from infra.dask_cluster import start_cluster

    warm_context()
    prefect = {"PREFECT_HOME": str(tmp_path_factory.mktemp("workers")), "PREFECT_LOGGING_LEVEL": "ERROR"}
    settings = {"distributed.worker.multiprocessing-method": "forkserver", "distributed.nanny.environ": prefect}
    with dask.config.set(settings), start_cluster(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def dask_engine(dask_workers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineParams]:
    """The two workers, and a Prefect server with a home of its own."""
    from components.stage.executor import prefect_server

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
        from prefect.settings import PREFECT_HOME, temporary_settings

        with temporary_settings({PREFECT_HOME: os.environ["PREFECT_HOME"]}), prefect_server():
            yield EngineParams(kind="dask", address=dask_workers)
