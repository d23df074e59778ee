"""Audit record of a promotion or rollback: an MLflow run and an annotated git tag."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.tracking.registry import find_version
from components.tracking.snapshot import git
from components.tracking.store import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient

AUDIT = "promotions"


def write_audit(client: "MlflowClient", root: Path, uri: str, record: dict[str, Any]) -> str:
    """Write the record as a run of the experiment `promotions` and as an annotated git tag; returns the tag's name.

    The tag points to the commit the version was made from; empty if that commit is not in this repository.
    """
    experiment = experiment_id(client, uri, AUDIT)
    title = f"{record['what']} {record['name']} {record['version']}"
    run = client.create_run(
        experiment, run_name=title, tags={"foundry.kind": record["what"], "promoted.by": record["who"]}
    )
    client.log_dict(run.info.run_id, record, "record.json")
    for key in ("name", "version", "replaces", "who", "why"):
        client.log_param(run.info.run_id, key, record[key])
    client.set_terminated(run.info.run_id)
    return _tag_commit(root, find_version(client, record["name"], record["version"]).tags.get("git.commit", ""), record)


def _tag_commit(root: Path, commit: str, record: dict[str, Any]) -> str:
    """The annotated tag, unsigned (a signature may need a person); characters that git does not take become `_`."""
    if not git(root, "cat-file", "-t", commit or "-", check=False):
        return ""
    stamp = record["at"].replace(":", "").replace("-", "").partition("+")[0]
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", record["name"])
    tag = f"production/{safe}/v{record['version']}-{stamp}"
    user = ("-c", f"user.name={record['who']}", "-c", "user.email=promotion@localhost")
    git(root, *user, "tag", "--no-sign", "--annotate", tag, commit, "-m", json.dumps(record, indent=2, sort_keys=True))
    return tag
