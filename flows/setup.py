"""Set up a Prefect server for this project; idempotent.

    foundry setup           work pool, heartbeat automation, the deployments of prefect.yaml

Needs PREFECT_API_URL (or a running `make ui`, which calls this itself).
"""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from components.base.errors import UserError

POOL = "process"
HEARTBEAT_SECONDS = 30  # PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the workers
DRIFT_AUTOMATION = "re-mine when served queries drift"
AUTOMATION = "crash flow runs without heartbeat"
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")  # no heartbeats after these


def make_heartbeat_automation() -> str:
    """Create the automation that marks a flow run without heartbeats Crashed; otherwise it stays RUNNING forever."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    gone = ChangeFlowRunState(
        name="Crashed", state=StateType.CRASHED, message="no heartbeat: its process is gone", force=False
    )
    silence = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDED)},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=3 * HEARTBEAT_SECONDS),
    )
    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(AUTOMATION):
            return f"automation {AUTOMATION!r}: exists"
        client.create_automation(AutomationCore(name=AUTOMATION, trigger=silence, actions=[gone]))
    return f"automation {AUTOMATION!r}: created"


def make_drift_automation() -> str:
    """Create the automation that starts the weekly re-mining when the monitor has an alert; it is off at first."""
    from prefect.client.orchestration import get_client
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    from flows.monitor import DRIFT_EVENT

    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(DRIFT_AUTOMATION):
            return f"automation {DRIFT_AUTOMATION!r}: exists"
        weekly = client.read_deployment_by_name("remine/weekly")
        seen = EventTrigger(expect={DRIFT_EVENT}, posture=Posture.Reactive, threshold=1)
        start = RunDeployment(source="selected", deployment_id=weekly.id, parameters=None, job_variables=None)
        client.create_automation(AutomationCore(name=DRIFT_AUTOMATION, enabled=False, trigger=seen, actions=[start]))
    return f"automation {DRIFT_AUTOMATION!r}: created, off"


def make_pool(name: str) -> str:
    """Create a work pool of type process."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return f"work pool {name}: exists"
    return f"work pool {name}: created"


def prefect(*arguments: str, cwd: Path) -> str:
    """Run one command of Prefect's CLI in the folder `cwd`; returns its output.

    Raises:
        UserError: it failed, with the line of its output that names an error, or else the last.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["failed without a word"]
        cause = [line for line in lines if re.match(r"\s*(\w+\.)*\w*(Error|Exception)\b", line)] or lines
        raise UserError(f"prefect {' '.join(arguments[:2])}: {cause[-1].strip()}")
    return done.stdout


def set_up(root: Path) -> list[str]:
    """Create automation, work pool and the deployments of `root`/prefect.yaml; returns one line for each.

    Raises:
        UserError: no server is configured, or Prefect rejected a deployment.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError("PREFECT_API_URL is not set; start `make ui`, or name your server")
    if not (root / "prefect.yaml").exists():
        raise UserError(f"{root}: no prefect.yaml here; run it in the checkout")
    done = [make_heartbeat_automation(), make_pool(POOL)]
    prefect("deploy", "--all", cwd=root)
    done += ["deployments of prefect.yaml: deployed", make_drift_automation()]
    return done
