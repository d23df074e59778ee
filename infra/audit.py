"""Known vulnerabilities of constraints.txt without asking a server: `python -m infra.audit FOLDER [constraints.txt]`.

FOLDER is a clone of the Python Packaging Advisory Database (PyPA's repository advisory-database), brought along from a
machine that has network; with network `pip-audit -r constraints.txt --no-deps --disable-pip` says the same.
Exit status 1 when something is found. It can't know what was published after the clone, so it prints the newest date.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)")


def pins(text: str) -> dict[str, Version]:
    """Name (normalised) and version of every `name==version` line.

    >>> pins("torch==2.13.0\\nPy_YAML==6.0.3 ; python_version < '4'")
    {'torch': <Version('2.13.0')>, 'py-yaml': <Version('6.0.3')>}
    """
    found = (_PIN.match(line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): Version(pin[2]) for pin in found if pin}


def affected(advisory: dict[str, Any], name: str, version: Version) -> bool:
    """Whether an advisory (OSV schema 1.x, section affected) is about this version of the package."""
    for entry in advisory.get("affected", []):
        if re.sub(r"[-_.]+", "-", entry["package"]["name"]).lower() != name:
            continue
        if str(version) in entry.get("versions", []):
            return True
        if any(_within(each["events"], version) for each in entry.get("ranges", []) if each["type"] == "ECOSYSTEM"):
            return True
    return False


def _within(events: list[dict[str, str]], version: Version) -> bool:
    """OSV's evaluation: the last event at or before the version decides."""
    inside = False
    for event in events:
        if "introduced" in event and version >= Version(event["introduced"]):
            inside = True
        if "fixed" in event and version >= Version(event["fixed"]):
            inside = False
        if "last_affected" in event and version > Version(event["last_affected"]):
            inside = False
    return inside


def findings(database: Path, pinned: dict[str, Version]) -> Iterator[str]:
    """A line per vulnerability: package, version, identifiers, the version that has it fixed."""
    for name, version in sorted(pinned.items()):
        for path in sorted((database / "vulns" / name).glob("*.yaml")):
            advisory = yaml.safe_load(path.read_text(encoding="utf-8"))
            if advisory.get("withdrawn") or not affected(advisory, name, version):
                continue
            names = ", ".join([advisory["id"], *advisory.get("aliases", [])])
            yield f"{name} {version}: {names}"


def newest(database: Path) -> str:
    """The latest day on which an advisory of the clone was changed."""
    stamps = re.compile(r"^modified: \W?(\d{4}-\d{2}-\d{2})", re.M)
    dates = (stamps.search(path.read_text(encoding="utf-8")) for path in database.glob("vulns/*/*.yaml"))
    return max((date[1] for date in dates if date), default="never")


def main(arguments: list[str]) -> int:
    """Command line."""
    if not 1 <= len(arguments) <= 2 or not (Path(arguments[0]) / "vulns").is_dir():
        print("usage: python -m infra.audit FOLDER [constraints.txt]; FOLDER has the folder vulns/", file=sys.stderr)
        return 2
    database, constraints = Path(arguments[0]), Path(arguments[1] if len(arguments) > 1 else "constraints.txt")
    pinned = pins(constraints.read_text(encoding="utf-8"))
    lines = list(findings(database, pinned))
    print("\n".join([*lines, f"{len(pinned)} packages, {len(lines)} vulnerabilities known by {newest(database)}"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
