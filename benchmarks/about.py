"""When, where and with which code figures were measured: the key `about` of a benchmark's JSON."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.json_file import write_json
from benchmarks.rehearsal import ROOT
from components.tracking.versions import code_version


def note_code(folder: Path) -> None:
    """Keep in a benchmark's folder which code its runs begin with."""
    write_json(folder / "code.json", code_version(ROOT))


def noted_code(folder: Path) -> dict[str, str]:
    """Of the call that prepared the folder: a later call with other code may finish what it began."""
    code: dict[str, str] = json.loads((folder / "code.json").read_text(encoding="utf-8"))
    return code


def about(seeds: int, always: Mapping[str, Any], code: Mapping[str, str]) -> dict[str, Any]:
    """When, where and with which code and settings.

    Args:
        code: of `code_version`.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "commit": code.get("git.commit", "unknown"),
        "dirty": code.get("git.dirty", "unknown"),
        "seeds": seeds,
        "settings": {key: value for key, value in always.items() if not isinstance(value, dict)},
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
