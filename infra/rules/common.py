"""Rules for images and environment variables, wherever they are named: pinned tags, no secret as text."""

import re
from collections.abc import Iterator, Mapping

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY|API_KEY|CREDENTIAL|PRIVATE_KEY", re.I)
_NO_SECRET = re.compile(r"^PREFECT_INTEGRATIONS_.*(SECRET_NAME|SECRET_KEY)$")  # a Kubernetes secret and its key
_USER_AND_PASSWORD = re.compile(r"://[^/@\s:]+:[^/@\s]+@")
_SECRETS = "/run/secrets/"
OURS = "embedding-foundry/"


def image_problems(image: object, version: str) -> Iterator[str]:
    """An image must be pinned by a version tag; ours carry the project's version."""
    name, _, tag = str(image).rpartition(":")
    if not name or "/" in tag or not re.search(r"\d", tag):
        yield f"image {image} is not pinned; name a version tag"
    elif name.startswith(OURS) and tag != version:
        yield f"image {image} should carry the version of pyproject.toml, {version}"


def variable_problems(variables: Mapping[str, object]) -> Iterator[str]:
    """A secret must be handed over as a file under /run/secrets, not as text."""
    for name, value in variables.items():
        if _USER_AND_PASSWORD.search(str(value)):
            yield f"{name} has a password in its address; use a _FILE variable"
        in_file = name.endswith("_FILE") and str(value).startswith(_SECRETS)
        if _SECRET_NAME.search(name) and not _NO_SECRET.match(name) and not in_file:
            yield f"{name} is a secret as text; name a file: {name.removesuffix('_FILE')}_FILE: {_SECRETS}..."


def missing_secrets(variables: Mapping[str, object], held: set[str]) -> Iterator[str]:
    """Every file under /run/secrets that a variable names must be among the secrets that the container gets."""
    for value in sorted({str(value) for value in variables.values()}):
        if value.startswith(_SECRETS) and value.removeprefix(_SECRETS) not in held:
            yield f"reads {value}, which the container does not get"
