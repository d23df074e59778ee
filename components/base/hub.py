"""The Hugging Face hub: a pinned repository's file list, and its download into the hub's own cache.

The hub's own settings (cache folder, endpoint, offline mode, token) apply. A commit never changes, so what the cache
holds in full is not asked for again, and a broken download is resumed by the next call.
"""

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.base.errors import UserError
from components.base.short_lines import describe_exception


class HubUnreachableError(UserError):
    """The hub does not answer; other repositories need not be tried."""


class HubRepo(NamedTuple):
    """A repository at a commit; `kind` is "model" or "dataset"."""

    kind: str
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.name} at {self.revision}"


class HubFile(NamedTuple):
    """Size in bytes of a file in a repository, and whether the cache holds it."""

    size: int
    cached: bool


def list_files(repo: HubRepo, key: str) -> dict[str, HubFile]:
    """Every file of a repository by path, from the cache if it has the list; downloads none of them.

    Without the network and the list, the files that the cache holds.

    Raises:
        UserError: the repository or its revision is not there, or the hub cannot be reached.
    """
    from huggingface_hub import get_cached_repo_tree, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    where: Any = {"revision": repo.revision, "repo_type": repo.kind}
    try:
        sizes = {file.path: file.size for file in get_cached_repo_tree(repo.name, **where)}
    except CachedRepoTreeNotFoundError:
        try:
            sizes = _ask_for_sizes(repo, key)
        except HubUnreachableError:
            sizes = _cached_sizes(repo)
            if not sizes:
                raise
    return {
        path: HubFile(size, isinstance(try_to_load_from_cache(repo.name, path, **where), str))
        for path, size in sizes.items()
    }


def _ask_for_sizes(repo: HubRepo, key: str) -> dict[str, int]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with clear_errors(repo, key):
        tree = HfApi().list_repo_tree(repo.name, recursive=True, revision=repo.revision, repo_type=repo.kind)
        return {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}


def _cached_sizes(repo: HubRepo) -> dict[str, int]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        place = snapshot_download(repo.name, repo_type=repo.kind, revision=repo.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return {}
    folder = Path(place)
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def require_access(repo: HubRepo, key: str) -> None:
    """Raise UserError if this machine's token may not download the files; a gated repository lists them to all."""
    from huggingface_hub import HfApi

    with clear_errors(repo, key):
        HfApi().auth_check(repo.name, repo_type=repo.kind)


def find_cached(repo: HubRepo, names: Sequence[str]) -> Path | None:
    """The folder of the repository in the hub's cache if it holds all these files."""
    from huggingface_hub import try_to_load_from_cache

    folder = None
    for name in names:
        found = try_to_load_from_cache(repo.name, name, revision=repo.revision, repo_type=repo.kind)
        if not isinstance(found, str):
            return None
        folder = Path(found.removesuffix(name))
    return folder


def download(repo: HubRepo, key: str, names: Sequence[str]) -> Path:
    """The folder of the repository in the hub's cache, with these files downloaded.

    Raises:
        UserError: like `list_files`, or the terms of the repository were not accepted.
    """
    from huggingface_hub import snapshot_download

    cached = find_cached(repo, names)
    if cached:
        return cached
    patterns = [glob.escape(name) for name in names]
    with clear_errors(repo, key):
        return Path(snapshot_download(repo.name, repo_type=repo.kind, revision=repo.revision, allow_patterns=patterns))


@contextmanager
def clear_errors(repo: HubRepo, key: str) -> Iterator[None]:
    """Turn what the hub's client raises into one line that names a parameter. Raises UserError."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except RevisionNotFoundError:
        raise UserError(
            f"{key}.revision: {repo}: this revision does not exist any more; choose another commit"
        ) from None
    except GatedRepoError:
        raise UserError(
            f"{key}.repo: {repo.name}: access is gated; accept its terms on the hub and log in (hf auth login)"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(f"{key}.repo: {repo.name}: no such repository; correct its name or log in") from None
    except (OSError, ValueError, httpx2.HTTPError) as problem:
        reason = describe_exception(problem)
        raise HubUnreachableError(
            f"{key}: the hub cannot be reached for {repo} ({type(problem).__name__}: {reason}); "
            "check the network, or point HF_HOME at a cache that holds it"
        ) from None
