"""Dockerfiles: pinned bases, an unprivileged user, pip held by constraints.txt, nothing piped into a shell."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.rules.common import image_problems


def dockerfile_problems(path: Path, version: str) -> Iterator[str]:
    """Every problem of one Dockerfile."""
    lines = _instructions(path.read_text(encoding="utf-8"))
    stages = set[str]()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, *alias = re.split(r"\s+AS\s+", re.sub(r"^--platform=\S+\s+", "", rest), flags=re.I)
            if image not in stages and image != "scratch":
                yield from image_problems(image, version)
            stages.update(alias)
        yield from _instruction_problems(word, rest)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield "ends as root; end with USER and a number other than 0"
    elif not users[-1].split(":")[0].isdigit():
        yield f"USER {users[-1]} is a name; Kubernetes' runAsNonRoot can only check a number"


def _instructions(text: str) -> list[str]:
    """Instructions with their continuation lines joined and comments left out."""
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def _instruction_problems(word: str, rest: str) -> Iterator[str]:
    if re.search(r"(curl|wget)[^|;&]*\|\s*(ba|z)?sh", rest):
        yield "pipes a download into a shell; install a pinned package instead"
    if word == "ADD":
        yield "ADD fetches and unpacks on its own; use COPY"
    if re.search(r"\bpip3? install\b", rest) and not re.search(r"\s(-c|--constraint)\s+\S*constraints\.txt", rest):
        yield "pip install without -c constraints.txt: the next build would get other versions"
    if word in {"ARG", "ENV"} and re.search(r"PASSWORD|SECRET|TOKEN|API_KEY", rest, re.I):
        yield f"{word} {rest.split('=')[0]} would leave a secret in the image's history"
