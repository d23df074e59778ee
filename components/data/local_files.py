"""The stage `local_files`: a list of the user's own files with their hashes, so that DVC sees every change of them.

    foundry stage local_files     what dvc.yaml runs: writes outputs/local_files/files.json, and copies (kept_files.py)

dvc.yaml cannot name what the folders and globs of params.yaml hold today. So DVC runs this stage every time
(`always_changed`), and `fetch` depends on the list it writes: an edited, added or deleted file of a `kind: local`
origin changes the list, and fetch runs; a file that was only touched does not. Cost: a second, and no MLflow run; files
whose size and times are as before are not read.

Of a folder, hidden files are left out, and for a format with an ending of its own (see ENDINGS) the files of other
endings, such as a README. A path or a glob that names files takes them as they are.

Relative paths are relative to the checkout, in the worktree of an isolated run too. A file that this machine never had
(a fresh clone, a remote worker) keeps its entry in the list and its copy that DVC brought: fetch stays as it is, and if
it has to run for another reason, it reads the copy.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.base.checkout import home
from components.base.errors import UserError
from components.base.files import whole_file
from components.base.hash_index import HashIndex
from components.config import FetchParams, LocalOrigin, ModelParams, SourceParams, load_config
from components.config.fetch import LAYOUTS
from components.data.kept_files import are_kept, drop_others, keep_files, lay_out
from components.data.text_files import COMPRESSIONS

LIST = Path("local_files") / "files.json"  # below outputs
_KINDS = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab", ".txt"),
    "parquet": (".parquet", ".pq"),
}
_EVERY = tuple(ending for endings in _KINDS.values() for ending in endings)
ENDINGS = {
    **_KINDS,
    "json": (".json", ".jsonl"),
    **dict.fromkeys(("collection", "beir", "corpus_and_ids"), _EVERY),
    **dict.fromkeys(LAYOUTS, (*_EVERY, ".arrow")),  # of what save_to_disk wrote
}
Item = SourceParams | ModelParams


@dataclass(frozen=True)
class Found:
    """Files of an origin: sorted names below the folder they share, and the ones of that folder that are not taken."""

    root: Path
    names: list[str]
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """The files of one local origin: its path in the parameters, and sha256 by name below the folder they share.

    folder: whether the path named a folder; lists of earlier versions do not say it.
    """

    path: str
    files: dict[str, str]
    folder: bool = field(default=False, compare=False)


def write_list(fetch: FetchParams, outputs: Path, checkout: Path) -> None:
    """Write the list of every local origin of the parameters below `outputs`, and keep the copies that it names.

    Raises:
        UserError: a path names no file, or a file is being written.
    """
    target, before = outputs / LIST, read_list(outputs)
    listed: dict[str, Listing] = {}
    wanted: set[str] = set()
    for key, item in local_items(fetch).items():
        known = before.get(key)
        if known and known.path == item.origin.path and is_elsewhere(item, checkout):
            print(f"{key}: {known.path} is not on this machine; the version that DVC has is used")
            listed[key] = known
        else:
            found, listed[key] = list_files(item, key, checkout)
            if is_kept(item):
                keep_files(found.root, listed[key].files, outputs)
        wanted |= set(listed[key].files.values()) if is_kept(item) else set()
    drop_others(wanted, outputs)
    text = json.dumps({key: asdict(listing) for key, listing in listed.items()}, indent=1, sort_keys=True) + "\n"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        with whole_file(target) as partial:
            partial.write_text(text, encoding="utf-8")


def is_kept(item: Item) -> bool:
    """Whether a copy of the origin's files is kept."""
    return isinstance(item.origin, LocalOrigin) and item.origin.keep


def update_list(root: Path) -> None:
    """The stage: `write_list` for the checkout or worktree `root`. Raises UserError like it."""
    write_list(load_config(root / "params.yaml").fetch, root / "outputs", home(root))


def read_list(outputs: Path) -> dict[str, Listing]:
    """The list that `write_list` wrote, by key path (fetch.sources.NAME.origin); empty where the stage has not run."""
    file = outputs / LIST
    raw = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {key: Listing(**entry) for key, entry in raw.items()}


def local_items(fetch: FetchParams) -> dict[str, Item]:
    """Every source and model with a local origin, by the origin's key path."""
    groups: dict[str, Mapping[str, Item]] = {"sources": fetch.sources, "models": fetch.models}
    return {
        f"fetch.{group}.{name}.origin": item
        for group, items in groups.items()
        for name, item in items.items()
        if isinstance(item.origin, LocalOrigin)
    }


def list_files(item: Item, key: str, checkout: Path) -> tuple[Found, Listing]:
    """The files of a local origin, and their hashes by name.

    Raises:
        UserError: the path names no file, or a file is being written; `key` is the key path that the error names.
    """
    path, found = str(item.origin.path), find_files(item, checkout)
    if not found.names:
        wanted = Path(path).expanduser()
        place = path if wanted.is_absolute() else f"{path} in {checkout}"
        what = "a folder without files" if (checkout / wanted).is_dir() else "no such file or folder"
        raise UserError(f"{key}.path: {place}: {what}; correct the path")
    index = _index(checkout)
    try:
        hashes = {name: index.hash(found.root / name) for name in found.names}
    except UserError as problem:
        raise UserError(f"{key}: {problem}") from None
    index.save()
    return found, Listing(path, hashes, (checkout / Path(path).expanduser()).is_dir())


def find_files(item: Item, checkout: Path) -> Found:
    """The files that the path of a local origin (file, folder or glob) names; none when nothing is there."""
    wanted = Path(str(item.origin.path)).expanduser()
    place = checkout / wanted
    if place.is_file():
        return Found(place.parent, [place.name])
    if place.is_dir():
        names = [name for name in _names(place.rglob("*"), place) if not is_hidden(name)]
        fitting = fit_format(names, item.format)
        return Found(place, fitting, sorted(set(names) - set(fitting))) if fitting else Found(place, names)
    root = Path(wanted.anchor) if wanted.is_absolute() else checkout
    parts = wanted.relative_to(wanted.anchor).parts
    above = max((number for number, part in enumerate(parts[:-1], 1) if part == ".."), default=0)
    root, pattern = root.joinpath(*parts[:above]), str(Path(*parts[above:]))  # so no name below the root has a `..`
    names = _names(root.glob(pattern), root)
    return Found(root, names if is_hidden(pattern) else [name for name in names if not is_hidden(name)])


def _names(files: Iterator[Path], root: Path) -> list[str]:
    return sorted(file.relative_to(root).as_posix() for file in files if file.is_file())


def fit_format(names: list[str], format: str) -> list[str]:
    """The names with an ending of the format; all of them where it has none."""
    endings = ENDINGS.get(format, ("",))
    return [name for name in names if bare_name(name).endswith(endings)]


def is_hidden(name: str) -> bool:
    """Whether the file or a folder on the way to it is hidden: .DS_Store, .ipynb_checkpoints, .git."""
    return any(part.startswith(".") for part in name.split("/"))


def bare_name(name: str) -> str:
    """A name in lower case, without the ending of a compression.

    >>> bare_name("Train.JSONL.gz")
    'train.jsonl'
    """
    path = Path(name.lower())
    return str(path.with_suffix("")) if path.suffix in COMPRESSIONS else str(path)


def is_elsewhere(item: Item, checkout: Path) -> bool:
    """Whether this machine has no file of the origin, and never had one: a file that it once had was deleted."""
    seen = _index(checkout).has_seen(str(checkout / Path(str(item.origin.path)).expanduser()))
    return not seen and not find_files(item, checkout).names


def not_to_be_read(outputs: Path, fetch: FetchParams, checkout: Path) -> list[str]:
    """Paths of the local origins whose files are not those of the list below `outputs`, nor are their copies there."""
    before = read_list(outputs)
    return [
        str(item.origin.path)
        for key, item in local_items(fetch).items()
        if key not in before
        or not (are_kept(before[key].files, outputs) or _as_listed(item, key, before[key], checkout))
    ]


@contextmanager
def listed_files(
    item: Item, key: str, outputs: Path, checkout: Path, place: Path
) -> Iterator[tuple[Found, Listing] | None]:
    """Within, the files of a local origin are read: those of the list, before and after. None for another origin.

    These are the user's own files if they are as listed, else their copies, laid out in the new folder `place`.

    Raises:
        UserError: the files are not as listed, and there are no copies; or they were changed while they were read, so
            that half may be of one version and half of another.
    """
    if not isinstance(item.origin, LocalOrigin):
        yield None
        return
    listing = read_list(outputs).get(key)
    if listing is None:
        raise UserError(f"{key}: not in {outputs / LIST}; run the stage that lists it first: dvc repro fetch")
    found = _as_listed(item, key, listing, checkout)
    if found is not None:
        yield found, listing
        _refuse_change(item, key, listing, checkout)
    elif are_kept(listing.files, outputs):
        print(f"{key}: {listing.path} is not as listed, or not here; the copy that DVC keeps is read")
        yield Found(lay_out(listing.files, outputs, place), sorted(listing.files)), listing
    else:
        _refuse_change(item, key, listing, checkout)


def _as_listed(item: Item, key: str, listing: Listing, checkout: Path) -> Found | None:
    """The user's own files if they are those of the list."""
    if not find_files(item, checkout).names:
        return None
    found, now = list_files(item, key, checkout)
    return found if now == listing else None


def _refuse_change(item: Item, key: str, listing: Listing, checkout: Path) -> None:
    found, now = list_files(item, key, checkout)
    if now != listing:
        other = sorted(dict(set(now.files.items()) ^ set(listing.files.items())))
        files = ", ".join(str(found.root / name) for name in other[:3]) or listing.path
        raise UserError(f"{key}: {files}: changed during the run; run again when it is complete")


def _index(checkout: Path) -> HashIndex:
    return HashIndex(checkout / ".cache" / "file_hashes.json")
