"""Addresses a person can click: Prefect's page of the present run."""

from prefect.runtime import flow_run
from prefect.settings import PREFECT_UI_URL


def run_page() -> str:
    """The present flow run in Prefect's UI; empty without a server that has one."""
    address = PREFECT_UI_URL.value()
    return f"{address.rstrip('/')}/runs/flow-run/{flow_run.id}" if address and flow_run.id else ""
