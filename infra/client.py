"""Print the environment variables of a client of compose.yaml's servers: `eval "$(python -m infra.client)"`.

The `export` lines are those of the worker, with service names replaced by 127.0.0.1 and secrets read from
infra/secrets. They fit Kubernetes too, after `kubectl port-forward` of mlflow, prefect and store to their own ports.
"""

import shlex
import sys
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
SERVICES = ("mlflow", "prefect", "store")
SKIPPED = ("HOME", "USER", "HF_HOME", "DASK_")  # folders inside the container; Dask's port is not published


def client_variables(folder: Path = FOLDER) -> dict[str, str]:
    """The worker's variables for a process outside the containers. Raises FileNotFoundError without secrets."""
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, text in compose["services"]["worker"]["environment"].items():
        if name.startswith(SKIPPED):
            continue
        value = str(text)
        for service in SERVICES:
            value = value.replace(f"http://{service}:", "http://127.0.0.1:")
        if value.startswith("/run/secrets/"):
            value = (folder / "secrets" / value.removeprefix("/run/secrets/")).read_text(encoding="utf-8")
        found[name.removesuffix("_FILE")] = value
    return found


def main() -> int:
    """Print the export lines."""
    try:
        variables = client_variables()
    except FileNotFoundError as problem:
        print(f"error: {problem.filename} is missing; run `python infra/make_secrets.py` first", file=sys.stderr)
        return 1
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
