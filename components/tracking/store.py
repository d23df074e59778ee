"""The MLflow store: its URI, a client, a reachability check, and links to the UI.

The store is MLFLOW_TRACKING_URI if set, else a sqlite file in the checkout. Importing this module is cheap; `connect`
imports MLflow.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlparse

from components.base.checkout import home
from components.base.loopback import keep_loopback_direct
from components.tracking.moved import ARTIFACTS, follow_move

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "embedding-foundry"
SAFE_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # With MLflow's defaults (7 tries of 120 s) a dead server would block every call for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one bar per file; our files are few and small
    "GIT_PYTHON_REFRESH": "quiet",
}
CONNECT_SECONDS = 3  # within which a server must accept a connection
_MLFLOW_SETS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")  # variables that mlflow.set_*_uri exports


def tracking_uri(root: Path) -> str:
    """MLflow's configured store, or the sqlite file of the checkout `root`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home(root) / 'mlflow.db'}"


def tracking_folder(root: Path) -> Path:
    """The folder of the pending journals of `root`; created if missing."""
    folder = root / ".cache" / "tracking"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def connect(uri: str) -> "MlflowClient":
    """An MLflow client for store and registry at `uri`, with telemetry and pickle off and short timeouts."""
    for name, value in SAFE_DEFAULTS.items():
        os.environ.setdefault(name, value)
    keep_loopback_direct()
    if uri.startswith("sqlite:///"):
        follow_move(Path(uri.removeprefix("sqlite:///")))
    import mlflow

    before = {name: os.environ.get(name) for name in _MLFLOW_SETS}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name, old in before.items():  # otherwise the next checkout in this process would use this store
        if old is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = old
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def store_exists(uri: str) -> bool:
    """Whether there is a store: False only for a sqlite file that no run has made yet, and `connect` would create."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def is_reachable(uri: str) -> bool:
    """Whether a server accepts connections; True for a file-based store."""
    address = urlparse(uri)
    if address.scheme not in {"http", "https"}:
        return True
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def experiment_id(client: "MlflowClient", uri: str, name: str = EXPERIMENT) -> str:
    """The experiment's id, created on first use; artifacts of a sqlite store are next to its file."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith("sqlite:///"):
        place = (Path(uri.removeprefix("sqlite:///")).parent / ARTIFACTS).as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        found = client.get_experiment_by_name(name)  # another process created it in the meantime
        if found is None:
            raise
        return str(found.experiment_id)


def redact_uri(uri: str) -> str:
    """The URI without user and password, for messages."""
    address = urlparse(uri)
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl() if address.netloc else uri


def with_credentials(store: str) -> str:
    """The address `store` of a journal with the user and password of MLFLOW_TRACKING_URI, if it is the same server."""
    configured = os.environ.get("MLFLOW_TRACKING_URI", "")
    return configured if redact_uri(configured) == store else store


def ui_address(uri: str) -> str:
    """The UI's URL: the server itself, or the address at which `make ui` serves the checkout's sqlite file."""
    return redact_uri(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"


# By default MLflow's pages open in the view for LLM applications, without runs and models; the URL selects the view.
_AS_TRAINING = "workflowType=machine_learning"
_VIEW = f"viewStateShareKey=pipelines&{_AS_TRAINING}"


def run_link(uri: str, experiment: str, run_id: str) -> str:
    return f"{ui_address(uri)}/#/experiments/{experiment}/runs/{run_id}?{_AS_TRAINING}"


def comparison_link(link: str) -> str:
    """Link to the charts of all pipelines of the experiment, from the link of one run."""
    return f"{link.rpartition('/runs/')[0]}/runs?{_VIEW}&compareRunsMode=CHART"


def view_link(experiment: str) -> str:
    """Link to the table of all pipelines, relative to the UI; see components/tracking/view.py."""
    return f"#/experiments/{experiment}/runs?{_VIEW}"


def experiments_link(uri: str) -> str:
    """Link to the list of experiments."""
    return f"{ui_address(uri)}/#/experiments?{_AS_TRAINING}"


def version_link(uri: str, name: str, version: str) -> str:
    return f"{ui_address(uri)}/#/models/{quote(name, safe='')}/versions/{version}?{_AS_TRAINING}"
