"""The MLflow model registry: register a version, find one, read the production alias.

A version's tags make it reproducible: git.commit (a refs/runs commit that holds its dvc.lock), dvc.lock.sha256, and
`md5:PATH` for every file and folder it was made from.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from components.tracking.store import connect, store_exists, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_NAME = "embedding-foundry"
CANDIDATE = "candidate"
PRODUCTION = "production"
SERVING_REQUIREMENTS = ("mlflow", "sentence-transformers", "transformers", "torch", "peft")


class RefusedError(UserError):
    """A refused promotion or rollback; the text gives the reason."""


def register_version(client: "MlflowClient", run_id: str, files: Path, request: dict[str, Any]) -> str:
    """Log the folder `files`/model as a pyfunc model of the run and register it; returns the version.

    request: name, alias, journal (registering twice from one journal gives one version), tags, example (texts), metrics
        (of the evaluate stage), model_metrics (what MLflow shows on the logged model).
    """
    name, journal = request["name"], request["journal"]
    again = client.search_model_versions(f"name = '{name}' and tags.journal = '{journal}'")
    version = again[0].version if again else _new_version(client, run_id, files, request)
    for key, value in request["tags"].items():
        client.set_model_version_tag(name, version, key, value)
    client.update_model_version(name, version, description(name, str(version), request["tags"], request["metrics"]))
    client.set_registered_model_alias(name, request["alias"], version)
    client.set_tag(run_id, "model.version", f"{name}/{version}")
    return str(version)


def description(name: str, version: str, tags: dict[str, str], metrics: dict[str, float]) -> str:
    """Markdown for the version's page: scores, commands, and the inputs it was made from.

    metrics: of the evaluate stage; `MODEL.mean`, `gain.mean`, `gain.low` and `gain.high` are shown if present.
    """
    means = [
        f"{model} {metrics[key]:.4f}" for model in ("trained", "base", "teacher") if (key := f"{model}.mean") in metrics
    ]
    lines = [f"Mean over tasks: {', '.join(means)}"] if means else []
    if "gain.mean" in metrics:
        gain, low, high = (100 * metrics[f"gain.{key}"] for key in ("mean", "low", "high"))
        lines.append(f"Gain over base: {gain:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})")
    if "git.commit" in tags:
        lines.append(f"Run it again and compare every byte: `make reproduce RUN={version}`")
    lines += [
        f"All it came from, with links: `foundry lineage {name}/{version}`",
        f"Make it production: `foundry promote {version} --because ...`",
    ]
    made_from = {key.removeprefix("md5:"): md5 for key, md5 in sorted(tags.items()) if key.startswith("md5:outputs/")}
    table = ["| made from | md5 |", "|---|---|", *(f"| {path} | `{md5}` |" for path, md5 in made_from.items())]
    return "\n\n".join(lines) + "\n\n" + "\n".join(table) + "\n"


def _new_version(client: "MlflowClient", run_id: str, files: Path, request: dict[str, Any]) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, DataType

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string)]),
        outputs=Schema([ColSpec(Array(DataType.double))]),
        params=ParamSchema(
            [ParamSpec("side", DataType.string, ""), ParamSpec("task", DataType.string, "")],
        ),
    )
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("embedder.py")),
            artifacts={"model": str(files / "model")},
            signature=signature,
            input_example=request["example"],
            pip_requirements=_pinned(SERVING_REQUIREMENTS),
        )
        mlflow.log_metrics(request["model_metrics"], model_id=info.model_id)
    made = mlflow.register_model(info.model_uri, request["name"], tags={"journal": request["journal"]})
    return str(made.version)


def _pinned(names: tuple[str, ...]) -> list[str]:
    """`name==version` as installed here, without a local build's suffix (+cpu), which package indexes do not have."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def find_version(client: "MlflowClient", name: str, which: str) -> Any:
    """A version by number or alias.

    Raises:
        UserError: there is no such model, version or alias.
    """
    from mlflow.exceptions import MlflowException

    try:
        if which.isdigit():
            return client.get_model_version(name, which)
        return client.get_model_version_by_alias(name, which)
    except MlflowException:
        known = ", ".join(str(v.version) for v in client.search_model_versions(f"name = '{name}'")) or "none"
        raise UserError(f"model {name!r} has no version or alias {which!r}; versions: {known}") from None


def split_version(text: str) -> tuple[str, str]:
    """(model, version) of `[MODEL/]VERSION`, as commands take it.

    >>> split_version("7"), split_version("other/production")
    (('embedding-foundry', '7'), ('other', 'production'))
    """
    name, _, which = text.rpartition("/")
    return name or DEFAULT_NAME, which


def registry_client(root: Path) -> "MlflowClient":
    """A client of the checkout's registry.

    Raises:
        UserError: no run has made the checkout's store yet; asking must not create one.
    """
    uri = tracking_uri(root)
    if not store_exists(uri):
        raise UserError(f"{uri.removeprefix('sqlite:///')}: no run has been recorded here yet; start one: make run")
    return connect(uri)


def production_version(client: "MlflowClient", name: str) -> Any:
    """The version under the alias `production`, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, PRODUCTION)
    except MlflowException:
        return None


def refuse_ungated(version: Any) -> None:
    """Raises RefusedError unless the version has the tags of a passed (or explicitly overridden) gate."""
    if version.tags.get("gate.verdict") not in {"promote", "forced"}:
        raise RefusedError(
            f"{version.name} version {version.version} has not passed the gate (no gate.verdict tag); the alias was"
            " moved by hand. Promote it: foundry promote"
            f" {version.version} --because ...; or go back: foundry rollback --because ..."
        )
