"""The gate's verdict on a fresh evaluation, in the MLflow run of the evaluate stage: gate/gate.html and two tags.

It is no output of the stage: production may change at any time, and the outputs depend on their inputs alone. Promotion
asks the gate again.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.base.short_lines import describe_exception
from components.config import load_config
from components.promotion.gate import Verdict, gate_folders
from components.promotion.gate_version import evaluation_of
from components.promotion.page import write_verdict
from components.tracking.registry import production_version, registry_client
from components.tracking.store import is_reachable, store_exists, tracking_uri

log = logging.getLogger(__name__)


def publish_verdict(journal: Any, root: Path, out: Path) -> None:
    """Compare the evaluation in `out` with the production version's and add the verdict to the run of `journal`.

    Without a store or a production version there is nothing to do. A failure is a warning: the evaluation is whole.
    """
    uri, name = tracking_uri(root), load_config(root / "params.yaml").register_.name
    if not store_exists(uri) or not is_reachable(uri):
        return
    try:
        found = compare_with_production(root, name, out)
    except UserError as problem:
        log.warning("no gate verdict: %s", problem)
        return
    except Exception as problem:  # noqa: BLE001  any error of the store: the stage has done its work
        log.warning("no gate verdict: MLflow: %s", describe_exception(problem))
        return
    if found is None:
        return
    against, verdict = found
    log.info("gate against production version %s: %s: %s", against, verdict.verdict, "; ".join(verdict.reasons))
    with tempfile.TemporaryDirectory() as folder:
        write_verdict(verdict, Path(folder))
        for file in sorted(Path(folder).iterdir()):
            journal.artifact(file, f"gate/{file.name}")
    journal.tags({"gate.verdict": verdict.verdict, "gate.against": against})


def compare_with_production(root: Path, name: str, evaluation: Path) -> tuple[str, Verdict] | None:
    """(production's version, the verdict on the evaluation in this folder); None if nothing is in production.

    Raises:
        UserError: production's evaluation is missing, or of another benchmark.
    """
    client = registry_client(root)
    champion = production_version(client, name)
    if champion is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        theirs = evaluation_of(client, champion, Path(scratch) / "champion")
        try:
            return str(champion.version), gate_folders(evaluation, theirs)
        except UserError as problem:
            raise UserError(f"{problem}: foundry evaluate {champion.version}") from None
