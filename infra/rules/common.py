"""Rules that hold in compose, Kubernetes and job templates alike: pinned images, no secret as text."""

import re
from collections.abc import Iterator, Mapping

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|AUTH_STRING|ACCESS_KEY|API_KEY|CREDENTIAL|PRIVATE_KEY", re.I)
_NO_SECRET = re.compile(r"SECRET_NAME$|SECRET_KEY$")  # names of Kubernetes secrets and of keys in them
_USER_AND_PASSWORD = re.compile(r"://[^/@\s:]+:[^/@\s]+@")
_OURS = "embedding-foundry/"


def image_problems(image: object, version: str) -> Iterator[str]:
    """Whether an image is pinned by a tag; ours carry the project's version."""
    name, _, tag = str(image).rpartition(":")
    if not name or "/" in tag or tag in {"latest", "main", "stable", "edge"} or not re.search(r"\d", tag):
        yield f"image {image} is not pinned; name a version tag"
    elif name.startswith(_OURS) and tag != version:
        yield f"image {image} should carry the version of pyproject.toml, {version}"


def variable_problems(variables: Mapping[str, object]) -> Iterator[str]:
    """Whether an environment hands a secret over as text instead of as a file under /run/secrets."""
    for name, value in variables.items():
        text = str(value)
        if _USER_AND_PASSWORD.search(text):
            yield f"{name} has a password in its address; use a _FILE variable"
        if not _SECRET_NAME.search(name):
            continue
        by_name = name.startswith("PREFECT_INTEGRATIONS_") and _NO_SECRET.search(name)
        if not by_name and not (name.endswith("_FILE") and text.startswith("/run/secrets/")):
            yield f"{name} is a secret as text; name a file: {name.removesuffix('_FILE')}_FILE: /run/secrets/..."


def secret_files(variables: Mapping[str, object]) -> set[str]:
    """Names of the secrets that an environment expects under /run/secrets."""
    return {
        text.removeprefix("/run/secrets/")
        for text in (str(value) for value in variables.values())
        if text.startswith("/run/secrets/")
    }
