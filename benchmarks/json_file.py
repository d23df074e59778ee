"""Write a benchmark's figures."""

import json
from pathlib import Path
from typing import Any

from components.base.files import whole_file


def write_json(file: Path, value: Any) -> None:
    """Write a file that is whole or not there: a run that has it is not run again."""
    with whole_file(file) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
