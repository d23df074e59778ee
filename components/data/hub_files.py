"""Which files of the hub a run takes: each repository is listed once, and every path is checked before any download."""

import difflib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.base.errors import UserError
from components.base.hub import HubFile, HubRepo, HubUnreachableError, download, list_files, require_access
from components.config import FetchParams, HubOrigin
from components.data.select import select

GIB = 2**30


@dataclass(frozen=True)
class HubItem:
    """Files that one origin takes from the hub, with bytes by name; or the error."""

    key: str
    repo: HubRepo
    files: Mapping[str, HubFile] = field(default_factory=dict)
    problem: str = ""


def choose(names: Sequence[str], origin: HubOrigin, key: str) -> tuple[list[str], str]:
    """Names that the origin's path means, or the first of its alternatives that is there, and their common folder.

    Raises:
        UserError: no file matches; the line has the nearest names.
    """
    tried = [origin.path, *_as_list(origin.otherwise)]
    for path in tried:
        kept, root = select(names, path)
        if kept:
            return kept, root
    missing = [one for path in tried for one in _as_list(path) if not select(names, one)[0]]
    near = _nearest(missing[0], names) if missing else ""
    raise UserError(
        f"{key}.path: {origin.repo} at {origin.revision} has no file {' or '.join(map(repr, missing))}{near}; "
        "correct the path"
    )


def _nearest(path: str, names: Sequence[str]) -> str:
    """`; nearest: a, b` of the repository's files; of names that differ in digits only (shards), the first."""
    kinds: dict[str, str] = {}
    for name in sorted(names):
        kinds.setdefault("".join(letter for letter in name if not letter.isdigit()), name)
    close = difflib.get_close_matches(path, list(kinds), n=3, cutoff=0.3)
    return f"; nearest: {', '.join(kinds[one] for one in close)}" if close else ""


def _as_list(path: str | list[str] | None) -> list[str]:
    return [path] if isinstance(path, str) else path or []


def download_hub_files(origin: HubOrigin, key: str, kind: str) -> tuple[Path, list[str], str]:
    """The repository's folder in the hub's cache, the names of the origin's files in it, and their common folder.

    Raises:
        UserError: no file matches, or the hub does not give them.
    """
    repo = HubRepo(kind, origin.repo, origin.revision)
    names, root = choose(list(list_files(repo, key)), origin, key)
    return download(repo, key, names), names, root


def check_hub_files(fetch: FetchParams) -> Iterator[HubItem]:
    """The files of every hub origin of the parameters, models first; each repository is listed once.

    What is wrong with a whole repository is reported at its first origin only; a hub out of reach ends the check.
    """
    named = [(f"fetch.models.{name}.origin", one.origin, "model") for name, one in fetch.models.items()]
    named += [(f"fetch.sources.{name}.origin", one.origin, "dataset") for name, one in fetch.sources.items()]
    repos: dict[HubRepo, _Repo] = {}
    for key, origin, kind in named:
        if not isinstance(origin, HubOrigin):
            continue
        name = HubRepo(kind, origin.repo, origin.revision)
        repo = repos.setdefault(name, _Repo(name))
        if repo.refused:
            continue
        try:
            yield HubItem(key, name, repo.files_of(origin, key))
        except UserError as problem:
            yield HubItem(key, name, problem=str(problem))
            if isinstance(problem, HubUnreachableError):
                return


class _Repo:
    """A repository during a check: its list, and whether its files may be downloaded; both are asked for once."""

    def __init__(self, name: HubRepo) -> None:
        self._name = name
        self._listed: dict[str, HubFile] = {}
        self._open = False
        self.refused = False

    def files_of(self, origin: HubOrigin, key: str) -> dict[str, HubFile]:
        """The origin's files. Raises UserError; `refused` is then True if it concerns the whole repository."""
        self.refused = True
        if not self._listed:
            self._listed = list_files(self._name, key)
        self.refused = False
        names, _ = choose(list(self._listed), origin, key)
        files = {name: self._listed[name] for name in names}
        if not self._open and not all(file.cached for file in files.values()):
            self.refused = True
            require_access(self._name, key)
            self._open, self.refused = True, False
        return files


def missing_bytes(items: Sequence[HubItem]) -> int:
    """Bytes to download: of each file once, however many origins take it."""
    sizes = {(item.repo, name): file.size for item in items for name, file in item.files.items() if not file.cached}
    return sum(sizes.values())


def disk_problem(items: Sequence[HubItem]) -> str:
    """One line if the downloads do not fit on the disk of the hub's cache; else nothing."""
    from huggingface_hub.constants import HF_HUB_CACHE

    needed, cache = missing_bytes(items), Path(HF_HUB_CACHE)
    while not cache.exists():
        cache = cache.parent
    free = shutil.disk_usage(cache).free
    if needed <= free:
        return ""
    return (
        f"disk: the hub's files need {needed / GIB:.1f} GiB more in {HF_HUB_CACHE}, {free / GIB:.1f} are free; "
        "free some, or point HF_HOME at a larger disk"
    )


def require_hub_files(fetch: FetchParams) -> None:
    """Check every repository, path and the disk before the first byte is downloaded. Raises UserError, one line."""
    items = list(check_hub_files(fetch))
    problems = [item.problem for item in items if item.problem]
    problems += [line for line in [disk_problem(items)] if line and not problems]
    if problems:
        more = f" (and {len(problems) - 1} more: foundry plan --hub lists all)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more)
