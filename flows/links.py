"""Link to the current run's page in Prefect's UI."""

from prefect.runtime import flow_run
from prefect.settings import PREFECT_UI_URL


def run_page() -> str:
    """URL of the current flow run in Prefect's UI; empty if the server has no UI."""
    address = PREFECT_UI_URL.value()
    return f"{address.rstrip('/')}/runs/flow-run/{flow_run.id}" if address and flow_run.id else ""
