"""Prefect artifacts of a pipeline run: a table of metrics, and links to the report and to MLflow."""

from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.settings import PREFECT_API_URL

from components.base.checkout import home
from components.tracking.store import experiments_link, is_reachable, tracking_uri
from components.tracking.summary import metrics_of


def summarise(root: Path, results: dict[str, str], link: str) -> None:
    """Create the artifacts of the current flow run; `link`: its run in MLflow, empty if nothing ran.

    Without them, if Prefect does not answer: the run itself has ended well.
    """
    if not is_reachable(PREFECT_API_URL.value() or ""):
        get_run_logger().warning("Prefect does not answer: this run gets no artifacts there")
        return
    rows = [
        {"stage": stage, "outcome": how, "metric": name, "value": value}
        for stage, how in results.items()
        for name, value in metrics_of(root / "outputs" / stage).items()
    ]
    create_table_artifact(rows, key="metrics", description="Metrics of every stage as they stand now")
    uri = tracking_uri(root)
    create_link_artifact(link or experiments_link(uri), key="mlflow", link_text="Runs in MLflow")
    report = root / "outputs" / "evaluate" / "report.html"
    if report.exists() and home(root) == root.resolve():  # a worktree will be removed; MLflow has its report
        create_link_artifact(report.resolve().as_uri(), key="report", link_text="Evaluation report")
