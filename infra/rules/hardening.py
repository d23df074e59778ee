"""Generic hardening (users, capabilities, limits, probes, ports) as JSON Schemas: hardening.yaml.

Linters that know such rules (checkov, kube-score, trivy) either bring a hundred packages or are not on PyPI, and none
reads compose files, rendered manifests and Prefect's job templates alike. jsonschema is a dependency of Prefect.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

_SCHEMAS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("hardening.yaml").read_text(encoding="utf-8"))


def violations(schema: str, value: object) -> Iterator[str]:
    """Path and message of every violation of a schema of hardening.yaml; none where there is no schema of that name."""
    for error in _validator(schema).iter_errors(value) if schema in _SCHEMAS["$defs"] else ():
        yield f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}".removeprefix(": ")


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**_SCHEMAS, "$ref": f"#/$defs/{schema}"})
