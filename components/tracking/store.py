"""Where MLflow's runs, artifacts and models live, and whether it answers.

MLFLOW_TRACKING_URI when set, else a sqlite file in the checkout. Importing this module is cheap; `client` pays for
MLflow's import.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlparse

from components.base.checkout import home

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "embedding-foundry"
SAFE_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # A dead server would stall every call for minutes with MLflow's own 7 tries of 120 s.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a bar a file, and ours are few and small
    "GIT_PYTHON_REFRESH": "quiet",
}


_MLFLOW_SETS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")  # by its set_*_uri, for child processes


def tracking_uri(root: Path) -> str:
    """MLflow's configured store, or the sqlite file of the checkout `root`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home(root) / 'mlflow.db'}"


def tracking_folder(root: Path) -> Path:
    """Where the journals of `root` wait to be uploaded."""
    folder = root / ".cache" / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def connect(uri: str) -> "MlflowClient":
    """An MLflow client for store and registry at `uri`, with telemetry, pickle and long stalls off."""
    for name, value in SAFE_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow

    before = {name: os.environ.get(name) for name in _MLFLOW_SETS}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, old in before.items():  # else this checkout's store would be the next one's
        if old is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = old
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def answers(uri: str, seconds: float = 3) -> bool:
    """Whether something listens at a server's address; a file-based store always answers."""
    address = urlparse(uri)
    if address.scheme not in {"http", "https"}:
        return True
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False


def experiment_id(client: "MlflowClient", uri: str, name: str = EXPERIMENT) -> str:
    """The experiment's id, created on first use; artifacts of a sqlite store lie beside its file."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith("sqlite:///"):
        place = (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process made it in the meantime
        if found is None:
            raise
        return str(found.experiment_id)


def shown(uri: str) -> str:
    """The store as messages may name it: without user and password."""
    address = urlparse(uri)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl() if address.netloc else uri


def ui_address(uri: str) -> str:
    """The address a browser opens: the server itself, or where `make ui` serves the checkout's sqlite file."""
    return shown(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"


# MLflow's pages open as for LLM applications, without the list of runs' models, unless the address says otherwise.
_AS_TRAINING = "workflowType=machine_learning"


def run_link(uri: str, experiment: str, run_id: str) -> str:
    return f"{ui_address(uri)}/#/experiments/{experiment}/runs/{run_id}?{_AS_TRAINING}"


def beside_others(link: str) -> str:
    """Charts of all runs of the experiment, from the address of one of them."""
    return f"{link.rpartition('/')[0]}?compareRunsMode=CHART&{_AS_TRAINING}"


def experiments_link(uri: str) -> str:
    """Every experiment of the store."""
    return f"{ui_address(uri)}/#/experiments?{_AS_TRAINING}"


def version_link(uri: str, name: str, version: str) -> str:
    return f"{ui_address(uri)}/#/models/{quote(name, safe='')}/versions/{version}?{_AS_TRAINING}"
