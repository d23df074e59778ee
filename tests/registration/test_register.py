"""The register stage: a version with everything needed to trust it, the same bytes each time, the same vectors."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from components.registration.register import EXAMPLES
from components.stage.run import run_stage
from components.tracking.journal_files import journals
from components.tracking.registry import description
from components.tracking.store import connect, tracking_uri
from tests.warm import warm_executable
from tests.warm_python import warm_python

NAME = "embedding-foundry"


@pytest.fixture(scope="module")
def registered(trained: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose register stage has run, as `foundry stage register` does."""

    root = tmp_path_factory.mktemp("registered") / "checkout"
    shutil.copytree(trained, root, symlinks=True)
    shutil.copyfile(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with warm_executable():  # of the upload
            run_stage("register", root)
    tracking, deadline = root / ".cache" / "tracking", time.monotonic() + 200
    while journals(tracking):  # a stage waits only some seconds for its upload, and the machine may be busy
        assert time.monotonic() < deadline, (tracking / "upload.log").read_text(encoding="utf-8")
        time.sleep(0.2)
    return root


@pytest.mark.slow
def test_loads_as_candidate_with_the_vectors_of_the_export(registered: Path) -> None:
    import mlflow
    from sentence_transformers import SentenceTransformer

    connect(tracking_uri(registered))
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@candidate")
    export = SentenceTransformer(str(registered / "outputs" / "train" / "export"))
    texts = ["a passage about rivers", "another, about the sea"]

    documents = np.array(model.predict(texts))
    assert np.abs(documents - export.encode_document(texts)).max() < 1e-5
    with_shots = json.loads((registered / "outputs/register/config_sentence_transformers.json").read_text())["prompts"]
    assert "Water is wet." in with_shots["boolq"]
    assert "is ice hot" not in with_shots["boolq"], "one shot was chosen, two are listed"
    assert "Retrieve a sentence that says the same" in with_shots["sts"], "an evaluated task that no task trains"
    queries = np.array(model.predict(texts, params={"side": "query", "task": "boolq"}))
    assert np.abs(queries - export.encode_query(texts, prompt=with_shots["boolq"])).max() < 1e-5
    assert np.abs(queries - documents).max() > 1e-3
    with pytest.raises(Exception, match=r"must be one of .*boolq"):
        model.predict(texts, params={"side": "query", "task": "nonsense"})


@pytest.mark.slow
def test_version_says_what_it_came_from(registered: Path) -> None:
    client = connect(tracking_uri(registered))
    version = client.get_model_version_by_alias(NAME, "candidate")
    commit = version.tags["git.commit"]
    lock = subprocess.run(["git", "show", f"{commit}:dvc.lock"], cwd=registered, capture_output=True, check=True).stdout
    assert hashlib.sha256(lock).hexdigest() == version.tags["dvc.lock.sha256"]
    for stage in ("prepare", "train", "select_shots", "evaluate", "fetch"):
        assert version.tags[f"md5:outputs/{stage}"] in lock.decode()
    assert "`make reproduce RUN=1`" in version.description
    assert f"| outputs/train | `{version.tags['md5:outputs/train']}` |" in version.description
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    shown = {metric.key: metric.value for metric in logged.metrics}
    assert (shown["trained.mean"], shown["train.steps"]) == (0.7, 3.0)
    assert "base.mean" not in shown, "the model's own scores, not those of base"
    info = __import__("mlflow").models.get_model_info(version.source)
    assert info.signature.params is not None
    assert [spec.name for spec in info.signature.params] == ["side", "task"]
    assert info.saved_input_example_info is not None


def test_the_version_s_page_tells_its_scores() -> None:
    metrics = {"trained.mean": 0.61, "base.mean": 0.5, "gain.mean": 0.11, "gain.low": 0.08, "gain.high": 0.14}
    page = description(NAME, "7", {"md5:outputs/train": "abc.dir", "md5:components/model": "f.dir"}, metrics)
    assert "Mean over tasks: trained 0.6100, base 0.5000" in page
    assert "+11.00 points (95 % interval +8.00 to +14.00)" in page
    assert "components/model" not in page


@pytest.mark.slow
def test_run_has_parameters_inputs_and_output_md5(registered: Path) -> None:
    client = connect(tracking_uri(registered))
    version = client.get_model_version_by_alias(NAME, "candidate")
    run = client.search_runs(["1"], "tags.`dvc.stage` = 'register'")[0]
    assert run.info.status == "FINISHED"
    assert run.data.tags["model.version"] == f"{NAME}/{version.version}"
    assert run.data.params["register.name"] == NAME
    assert "train.steps" not in run.data.params
    assert {item.dataset.name for item in run.inputs.dataset_inputs} >= {"outputs/train", "outputs/prepare"}
    assert run.data.tags["dvc.out.md5"].endswith(".dir")


@pytest.mark.slow
def test_output_is_the_same_bytes_again(registered: Path, checkout: Path, no_upload: None) -> None:
    run_stage("register", checkout)
    for file in ("registration.json", "reference.json", "metrics.json", "config_sentence_transformers.json"):
        once, again = (root / "outputs" / "register" / file for root in (registered, checkout))
        assert once.read_bytes() == again.read_bytes(), file
    assert len(json.loads((checkout / "outputs/register/reference.json").read_text())["queries"]) == len(EXAMPLES)


@pytest.mark.slow
def test_no_model_is_one_clear_line(checkout: Path, no_upload: None) -> None:
    from components.base.errors import UserError

    (checkout / "outputs/train/export/modules.json").unlink()
    with pytest.raises(UserError, match="run the train stage first"):
        run_stage("register", checkout)
    assert not (checkout / "outputs/register").exists()


@pytest.mark.slow
def test_promoted_through_the_flow_s_steps_then_loaded_and_served(registered: Path) -> None:
    """gate, swap, smoke test, load_production, and `mlflow models serve` give the vectors of the export."""
    from sentence_transformers import SentenceTransformer

    from components.promotion.gate_version import gate_version
    from components.promotion.smoke import smoke_test
    from components.promotion.swap import promote
    from components.serving.ask import ask
    from components.tracking.load import load_production

    uri = tracking_uri(registered)
    client = connect(uri)
    promote(client, gate_version(client, NAME, "candidate"), "ann", "test")
    assert smoke_test(client, NAME) < 1e-5
    texts = ["a passage about rivers", "another, about the sea"]
    expected = SentenceTransformer(str(registered / "outputs/train/export")).encode_document(texts)
    assert np.abs(load_production(NAME, registered).encode_document(texts) - expected).max() < 1e-5
    faq = registered / "faq.txt"
    faq.write_text("\n".join(texts))
    for version in ("production", "candidate", "1"):
        answer = ask(registered, "which river", "", faq, version, 2)
        assert answer.model == f"version {version} ({NAME}-1)"
        assert {text for _, text in answer.hits} == set(texts)
    assert [folder.name for folder in (registered / ".cache" / "versions").iterdir()] == [f"{NAME}-1"]
    assert np.abs(np.array(served(uri, f"models:/{NAME}@production", texts)) - expected).max() < 1e-5


def served(uri: str, model: str, texts: list[str]) -> list[list[float]]:
    """The answer of a scoring server, started for it and stopped again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local", "--port", str(port)]
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # MLflow starts uvicorn by name: without the environment's bin on PATH (it is not activated) there is none.
        "PATH": f"{warm_python()}{os.pathsep}{os.environ['PATH']}",
    }
    server = subprocess.Popen([sys.executable, "-m", *command], env=env, start_new_session=True)
    try:
        body = json.dumps({"inputs": texts}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", data=body, headers={"Content-Type": "application/json"}
        )
        deadline = time.monotonic() + 400
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    predictions: list[list[float]] = json.loads(answer.read())["predictions"]
                    return predictions
            except OSError:
                assert server.poll() is None, f"mlflow models serve exited with {server.returncode}"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it and its children are gone already
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
