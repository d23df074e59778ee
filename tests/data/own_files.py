"""A checkout with files of the user's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from components.base.checkout import home
from components.config import FetchParams, load_config
from components.data.local_files import LIST, listed_files, write_list
from tests.samples import small_parameters

KEY = "fetch.sources.faq.origin"
ROW = '{"query": "how do I reset it", "document": "Hold the button."}\n'


def checkout_with(root: Path, path: str, group: str = "sources", keep: bool = True) -> Path:
    """A checkout whose parameters name one local origin."""
    raw = small_parameters()
    origin = {"kind": "local", "path": path, "licence": "internal", "keep": keep}
    raw["fetch"][group]["faq"] = {"origin": origin} | ({"format": "jsonl"} if group == "sources" else {})
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return root


def parameters(root: Path) -> FetchParams:
    return load_config(root / "params.yaml").fetch


def listed(root: Path) -> str:
    write_list(parameters(root), root / "outputs", home(root))
    return (root / "outputs" / LIST).read_text(encoding="utf-8")


def write(path: Path, text: str = ROW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def own_data(path: str, keep: bool = True) -> Callable[[Path], Path]:
    """A checkout with my/a.jsonl and my/deep/b.jsonl, of which `path` is the source."""

    def make(root: Path) -> Path:
        write(root / "my/a.jsonl")
        write(root / "my/deep/b.jsonl")
        return checkout_with(root, path, keep=keep)

    return make


def texts_read(root: Path, change: Callable[[], Any] = lambda: None) -> dict[str, str]:
    """What a stage reads of the origin, by name, with a change during it."""
    item = parameters(root).sources["faq"]
    with listed_files(item, KEY, root / "outputs", root, root / "place") as own:
        assert own is not None
        found, listing = own
        assert sorted(listing.files) == found.names
        texts = {name: (found.root / name).read_text(encoding="utf-8") for name in found.names}
        change()
    return texts
