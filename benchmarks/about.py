"""When, where and with which code figures were measured: the key `about` of a benchmark's JSON."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


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
