"""What a Prefect server needs to know about this project, made once and safe to repeat.

    foundry setup           work pool, GPU slot, heartbeat automation, the deployments of prefect.yaml

Needs PREFECT_API_URL (or a running `make ui`, which calls this itself).
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from components.base.errors import UserError
from flows.pipeline import GPU_LIMIT

POOL = "process"
HEARTBEAT_SECONDS = 30  # PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the workers
AUTOMATION = "crash flow runs without heartbeat"
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")  # after these, silence is right


def make_gpu_slot() -> str:
    """One flow at a time on the GPU."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=1))
            return f"concurrency limit {GPU_LIMIT}: made"
    return f"concurrency limit {GPU_LIMIT}: there"


def make_heartbeat_automation() -> str:
    """A flow run whose heartbeats stop (power cut, kill -9 of everything) becomes Crashed; else it runs for ever."""
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
            return f"automation {AUTOMATION!r}: there"
        client.create_automation(AutomationCore(name=AUTOMATION, trigger=silence, actions=[gone]))
    return f"automation {AUTOMATION!r}: made"


def make_pool(name: str) -> str:
    """A work pool whose runs are processes of the worker's machine."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        except ObjectAlreadyExists:
            return f"work pool {name}: there"
    return f"work pool {name}: made"


def prefect(*arguments: str, cwd: Path) -> str:
    """One command of Prefect's command line in the folder `cwd`.

    Raises:
        UserError: it failed, with its last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"prefect {' '.join(arguments[:2])}: {(done.stderr + done.stdout).strip().splitlines()[-1]}")
    return done.stdout


def set_up(root: Path) -> list[str]:
    """Everything, with the deployments of `root`/prefect.yaml; returns a line per thing.

    Raises:
        UserError: no server is named, or Prefect refused a deployment.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError("PREFECT_API_URL is not set; start `make ui`, or name your server")
    if not (root / "prefect.yaml").exists():
        raise UserError(f"{root}: no prefect.yaml here; run it in the checkout")
    done = [make_gpu_slot(), make_heartbeat_automation(), make_pool(POOL)]
    prefect("deploy", "--all", cwd=root)
    done.append("deployments of prefect.yaml: deployed")
    return done
