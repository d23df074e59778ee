"""The stage `local_files`: a list of the user's own files with their hashes, so that DVC sees every change of them.

    foundry stage local_files     what dvc.yaml runs: writes outputs/local_files/files.json

dvc.yaml cannot name what the folders and globs of params.yaml hold today. So DVC runs this stage every time
(`always_changed`), and `fetch` depends on the list it writes: an edited, added or deleted file of a `kind: local`
origin changes the list, and fetch runs; a file that was only touched does not. Cost: a second, and no MLflow run; files
whose size and times are as before are not read.

Relative paths are relative to the checkout, in the worktree of an isolated run too. A file that this machine never had
(a fresh clone, a remote worker) keeps its entry in the list that DVC brought, and fetch stays as it is.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from components.base.checkout import home
from components.base.errors import UserError
from components.base.files import whole_file
from components.base.hash_index import HashIndex
from components.config import FetchParams, LocalOrigin, Origin, load_config

LIST = Path("local_files") / "files.json"  # below outputs


@dataclass(frozen=True)
class Listing:
    """The files of one local origin: its path in the parameters, and sha256 by name below the folder they share."""

    path: str
    files: dict[str, str]


def write_list(fetch: FetchParams, outputs: Path, checkout: Path) -> None:
    """Write the list of every local origin of the parameters below `outputs`.

    Raises:
        UserError: a path names no file, or a file is being written.
    """
    target, before = outputs / LIST, read_list(outputs)
    listed: dict[str, Listing] = {}
    for key, origin in local_origins(fetch).items():
        known = before.get(key)
        if known and known.path == origin.path and is_elsewhere(origin, checkout):
            print(f"{key}: {origin.path} is not on this machine; the version that DVC has is used")
            listed[key] = known
        else:
            listed[key] = list_files(origin, key, checkout)[1]
    text = json.dumps({key: asdict(listing) for key, listing in listed.items()}, indent=1, sort_keys=True) + "\n"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        with whole_file(target) as partial:
            partial.write_text(text, encoding="utf-8")


def update_list(root: Path) -> None:
    """The stage: `write_list` for the checkout or worktree `root`. Raises UserError like it."""
    write_list(load_config(root / "params.yaml").fetch, root / "outputs", home(root))


def read_list(outputs: Path) -> dict[str, Listing]:
    """What `write_list` wrote, by key path (fetch.sources.NAME.origin); empty where the stage has not run."""
    file = outputs / LIST
    raw = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {key: Listing(**entry) for key, entry in raw.items()}


def local_origins(fetch: FetchParams) -> dict[str, LocalOrigin]:
    """Every local origin by its key path."""
    groups: dict[str, Mapping[str, Origin]] = {
        "sources": {name: source.origin for name, source in fetch.sources.items()},
        "models": {name: model.origin for name, model in fetch.models.items()},
    }
    return {
        f"fetch.{group}.{name}.origin": origin
        for group, origins in groups.items()
        for name, origin in origins.items()
        if isinstance(origin, LocalOrigin)
    }


def list_files(origin: LocalOrigin, key: str, checkout: Path) -> tuple[Path, Listing]:
    """The folder that the origin's files share, and their hashes by name below it, sorted.

    Raises:
        UserError: the path names no file, or a file is being written; `key` is the key path that the error names.
    """
    root, names = find_files(origin.path, checkout)
    if not names:
        wanted = Path(origin.path).expanduser()
        place = origin.path if wanted.is_absolute() else f"{origin.path} in {checkout}"
        what = "a folder without files" if (checkout / wanted).is_dir() else "no such file or folder"
        raise UserError(f"{key}.path: {place}: {what}; correct the path")
    index = _index(checkout)
    try:
        hashes = {name: index.hash(root / name) for name in names}
    except UserError as problem:
        raise UserError(f"{key}: {problem}") from None
    index.save()
    return root, Listing(origin.path, hashes)


def find_files(path: str, checkout: Path) -> tuple[Path, list[str]]:
    """The folder below which the files of `path` (file, folder or glob) lie, and their sorted names below it."""
    wanted = Path(path).expanduser()
    place = checkout / wanted
    if place.is_file():
        return place.parent, [place.name]
    if place.is_dir():
        root, found = place, place.rglob("*")
    else:
        root = Path(wanted.anchor) if wanted.is_absolute() else checkout
        found = root.glob(str(wanted.relative_to(wanted.anchor)))
    return root, sorted(file.relative_to(root).as_posix() for file in found if file.is_file())


def is_elsewhere(origin: LocalOrigin, checkout: Path) -> bool:
    """Whether this machine has no file of the origin, and never had one: what is gone was deleted."""
    seen = _index(checkout).has_seen(str(checkout / Path(origin.path).expanduser()))
    return not seen and not find_files(origin.path, checkout)[1]


def changed_since(before: Mapping[str, Listing], fetch: FetchParams, checkout: Path) -> list[str]:
    """Paths of the local origins whose files differ from the list `before`, or are not there."""
    changed = []
    for key, origin in local_origins(fetch).items():
        _, names = find_files(origin.path, checkout)
        if not names or list_files(origin, key, checkout)[1] != before.get(key):
            changed.append(origin.path)
    return changed


@contextmanager
def held_to_the_list(origin: Origin, key: str, outputs: Path, checkout: Path) -> Iterator[None]:
    """Within, a local origin is read: its files must be the listed ones before and after.

    Raises:
        UserError: they are not; what was read may be half of one version and half of another.
    """
    if not isinstance(origin, LocalOrigin):
        yield
        return
    listing = read_list(outputs).get(key)
    if listing is None:
        raise UserError(f"{key}: not in {outputs / LIST}; run the stage that lists it first: dvc repro fetch")
    _refuse_change(origin, key, listing, checkout)
    yield
    _refuse_change(origin, key, listing, checkout)


def _refuse_change(origin: LocalOrigin, key: str, listing: Listing, checkout: Path) -> None:
    root, now = list_files(origin, key, checkout)
    if now != listing:
        other = sorted(dict(set(now.files.items()) ^ set(listing.files.items())))
        files = ", ".join(str(root / name) for name in other[:3]) or origin.path
        raise UserError(f"{key}: {files}: changed during the run; run again when it is complete")


def _index(checkout: Path) -> HashIndex:
    return HashIndex(checkout / ".cache" / "file_hashes.json")
