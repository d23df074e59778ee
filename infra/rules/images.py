"""Rules for the Dockerfiles that hadolint does not know: our pins, a numeric user, no secret in the image's history."""

import re
from collections.abc import Iterator
from pathlib import Path

from infra.rules.common import image_problems


def dockerfile_problems(path: Path, version: str) -> Iterator[str]:
    """Every problem of one Dockerfile."""
    user, stages = "", {"scratch"}
    for word, rest in _instructions(path.read_text(encoding="utf-8")):
        if word == "FROM":
            image, *name = (each for each in rest.split() if not each.startswith("--") and each.upper() != "AS")
            yield from image_problems(image, version) if image not in stages else ()
            stages.update(name)
        elif word == "USER":
            user = rest
        elif word in {"ARG", "ENV"} and re.search(r"PASSWORD|SECRET|TOKEN|API_KEY", rest, re.I):
            yield f"{word} {rest.split('=')[0]} would leave a secret in the image's history"
        if re.search(r"\bpip3? install\b", rest) and not re.search(r"\s(-c|--constraint)\s+\S*constraints\.txt", rest):
            yield "pip install without -c constraints.txt: the next build would get other versions"
    if not re.match(r"[1-9]\d*(:|$)", user):
        yield "must end with USER and a number other than 0, the only thing that Kubernetes' runAsNonRoot can check"


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Word and rest of every instruction, continuation lines joined, comments left out."""
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest
