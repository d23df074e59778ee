"""Lineage of a model version (ancestors) or of a file (descendants), as a tree, from MLflow and DVC's md5s.

    foundry lineage production          a version: number or alias
    foundry lineage 3f2a...  | FILE     an md5 or file: every output, run and version made from it

A version's tags hold the md5 of all its ancestors, so the tree is complete even if a stage came from DVC's cache or
ran on another machine.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from components.tracking.registry import find_version, registry_client, split_version
from components.tracking.snapshot import git
from components.tracking.store import EXPERIMENT, run_link, tracking_uri, version_link
from components.tracking.versions import dvc_md5

if TYPE_CHECKING:
    from mlflow import MlflowClient

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass
class Node:
    """One line of the tree and its children."""

    text: str
    below: list["Node"] = field(default_factory=list)

    def lines(self, indent: str = "") -> list[str]:
        """The tree as text, a line per node."""
        shown = [self.text]
        for i, node in enumerate(self.below):
            last = i == len(self.below) - 1
            first, *rest = node.lines()
            shown.append(("└─ " if last else "├─ ") + first)
            shown += [("   " if last else "│  ") + line for line in rest]
        return [indent + line for line in shown]


@dataclass(frozen=True)
class Registry:
    """The MLflow client and the checkout that the lineage functions query."""

    client: "MlflowClient"
    uri: str
    root: Path


# ---------------------------------------------------------------- version -> its ancestors


def of_version(registry: Registry, name: str, which: str) -> Node:
    """The version, its code, parameters, runs, and the data it came from, each with the run that made it."""
    version = find_version(registry.client, name, which)
    tree = Node(f"{name} version {version.version}  {version_link(registry.uri, name, version.version)}")
    commit, tags = version.tags.get("git.commit", ""), version.tags
    known = bool(git(registry.root, "cat-file", "-t", commit or "-", check=False))
    where = "" if known else " (not in this repository: git fetch origin 'refs/runs/*:refs/runs/*')"
    tree.below.append(Node(f"code and parameters: git commit {commit or 'unknown'}{where}"))
    tree.below.append(Node(f"dvc.lock sha256 {tags.get('dvc.lock.sha256', 'unknown')}"))
    if commit:
        tree.below.append(Node(f"again: make reproduce RUN={version.version}"))
    tree.below.append(_run_and_parents(registry, version.run_id))
    if "gate.verdict" in tags:
        tree.below.append(
            Node(f"gate: {tags['gate.verdict']} against {tags['gate.against']} ({tags['gate.difference']})")
        )
    data = Node("made from")
    for key, md5 in sorted(tags.items()):
        if key.startswith("md5:"):
            runs = _runs_with_output(registry, md5)
            data.below.append(Node(f"{key.removeprefix('md5:')}  {md5}", [_run_node(registry, run) for run in runs]))
    tree.below.append(data)
    return tree


def _run_and_parents(registry: Registry, run_id: str) -> Node:
    run = registry.client.get_run(run_id)
    node = _run_node(registry, run)
    parent = run.data.tags.get("mlflow.parentRunId")
    if parent:
        node.below.append(_run_and_parents(registry, parent))
    return node


def _run_node(registry: Registry, run: Any) -> Node:
    link = run_link(registry.uri, run.info.experiment_id, run.info.run_id)
    return Node(f"run {run.info.run_name} {run.info.status}  {link}")


# ---------------------------------------------------------------- md5 -> its descendants


def of_md5(registry: Registry, md5: str) -> Node:
    """Every run that wrote or read these bytes, and every version made from them.

    Raises:
        UserError: no recorded run or version refers to them.
    """
    holders = [md5, *_folders_holding(registry, md5)]
    tree = Node(md5)
    for found in holders:
        node = tree if found == md5 else Node(f"in folder {found}")
        node.below += [_labelled("made by", _run_node(registry, r)) for r in _runs_with_output(registry, found)]
        node.below += [_labelled("read by", _run_node(registry, r)) for r in _runs_with_input(registry, found)]
        if node is not tree:
            tree.below.append(node)
    versions = [v for v in _all_versions(registry) if set(holders) & set(_md5s(v))]
    for version in versions:
        link = version_link(registry.uri, version.name, version.version)
        names = _aliases(registry, version)
        alias = f" ({', '.join(names)})" if names else ""
        tree.below.append(Node(f"model {version.name} version {version.version}{alias}  {link}"))
    if not tree.below:
        raise UserError(f"{md5}: no run and no model version here refers to this md5")
    return tree


def _aliases(registry: Registry, version: Any) -> list[str]:
    """Aliases of a version: MLflow leaves them out of search results."""
    aliases = registry.client.get_registered_model(version.name).aliases
    return sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))


def _labelled(label: str, node: Node) -> Node:
    return Node(f"{label} {node.text}", node.below)


def _folders_holding(registry: Registry, md5: str) -> list[str]:
    """The recorded folders that contain this file, by their listings in the DVC cache."""
    recorded = {v for version in _all_versions(registry) for v in _md5s(version) if v.endswith(".dir")}
    recorded |= {run.data.tags["dvc.out.md5"] for run in _search(registry, "tags.`dvc.out.md5` LIKE '%.dir'")}
    cache = _dvc_cache(registry.root)
    held = []
    for folder in sorted(recorded):
        listing = cache / folder[:2] / folder[2:]
        if listing.exists() and any(entry["md5"] == md5 for entry in json.loads(listing.read_text())):
            held.append(folder)
    return held


def _dvc_cache(root: Path) -> Path:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return Path(repo.cache.repo.path)


def _runs_with_output(registry: Registry, md5: str) -> list[Any]:
    return _search(registry, f"tags.`dvc.out.md5` = '{md5}'")


def _runs_with_input(registry: Registry, md5: str) -> list[Any]:
    return _search(registry, f"datasets.digest = '{md5}'")


def _search(registry: Registry, what: str) -> list[Any]:
    experiment = registry.client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found: list[Any] = []
    token = None
    while True:
        page = registry.client.search_runs([experiment.experiment_id], what, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _all_versions(registry: Registry) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = registry.client.search_model_versions(max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _md5s(version: Any) -> list[str]:
    return [value for key, value in version.tags.items() if key.startswith("md5:")]


# ---------------------------------------------------------------- either


def lineage(root: Path, what: str, folder: Path) -> Node:
    """The tree of `what`: [MODEL/]VERSION, an md5, or a file or folder relative to `folder`.

    Raises:
        UserError: no such version, or no recorded run or version refers to these bytes.
    """
    registry = Registry(registry_client(root), tracking_uri(root), root)
    if MD5.fullmatch(what):
        return of_md5(registry, what)
    if (folder / what).exists():
        return of_md5(registry, dvc_md5(folder / what))
    return of_version(registry, *split_version(what))
