"""Settings of sources."""

import pytest

from components.config import SourceParams


def test_settings_of_another_format_are_refused() -> None:
    origin = {"kind": "local", "path": "x", "licence": "MIT"}
    for setting in ({"pattern": "x"}, {"skip_rows": 1}, {"split": "train"}, {"negatives": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} has no effect on jsonl, rows, it belongs to"):
            SourceParams.model_validate({"origin": origin, "format": "jsonl", **setting})
