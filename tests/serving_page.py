"""Run a block of docs/serving.md as it stands."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.samples import ROOT

AFTER_TOKEN_IDS = ("transformers", "onnx")  # blocks that call what the block "token ids" defines
NODE_MODULES = ROOT / "node_modules"


def documented(block: str, **given: Any) -> dict[str, Any]:
    """Run a Python block by its label, after the token ids where it needs them; returns the names it leaves."""
    names = dict(given)
    for label in ("token ids", block) if block in AFTER_TOKEN_IDS else (block,):
        exec(documented_text(f"python {label}"), names)  # noqa: S102  # a block of our own page
    return names


def documented_text(label: str) -> str:
    """The lines of a block."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    return text.split(f"```{label}\n")[1].split("```")[0]


def missing_for_node() -> str:
    """What the block for transformers.js needs and is not here, with its cure; empty when all is here."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (NODE_MODULES / "@huggingface" / "transformers").is_dir():
        return "transformers.js is not here: npm install --no-save --ignore-scripts @huggingface/transformers@4"
    return ""


def documented_in_node(folder: Path, texts: Sequence[str], task: str) -> dict[str, Any]:
    """Run the block for transformers.js next to `folder`; its queries and documents."""
    modules = folder.parent / "node_modules"
    if not modules.is_symlink():
        modules.symlink_to(NODE_MODULES.resolve())  # node looks for packages beside the script
    given = {"folder": folder.name, "task": task, "texts": list(texts)}
    lines = [f"const {name} = {json.dumps(value)};" for name, value in given.items()]
    said = "fs.writeFileSync('vectors.json', JSON.stringify({ queries, documents }));"
    script = folder.parent / "client.mjs"
    script.write_text("\n".join([*lines, documented_text("js transformers.js"), said]), encoding="utf-8")
    ran = subprocess.run(["node", script.name], cwd=script.parent, capture_output=True, text=True, timeout=3600)
    assert ran.returncode == 0, ran.stderr
    vectors: dict[str, Any] = json.loads((script.parent / "vectors.json").read_text(encoding="utf-8"))
    return vectors
