"""Choose files by a path of the parameters: a file, a folder, a glob, or a list of them."""

import fnmatch
from collections.abc import Sequence


def select(names: Sequence[str], path: str | list[str] | None) -> tuple[list[str], str]:
    """Names that `path` (file, folder, glob, list of them, or None for all) means, sorted, and their common folder.

    >>> select(["a/b/x.txt", "a/b/y.csv", "a/z.txt"], "a/b")
    (['a/b/x.txt', 'a/b/y.csv'], 'a/b')
    >>> select(["a/b/x.txt", "a/b/y.csv", "a/z.txt"], ["a/b/x.txt", "a/z*"])
    (['a/b/x.txt', 'a/z.txt'], 'a')
    """
    if path is None:
        return sorted(names), ""
    wanted = [one.rstrip("/") for one in ([path] if isinstance(path, str) else path)]
    kept: set[str] = set()
    for one in wanted:
        found = [name for name in names if name == one or name.startswith(one + "/") or fnmatch.fnmatchcase(name, one)]
        if not found:
            return [], ""
        kept.update(found)
    if len(wanted) == 1 and not kept.intersection(wanted) and not set("*?[") & set(wanted[0]):
        return sorted(kept), wanted[0]
    return sorted(kept), _common([name.rpartition("/")[0] for name in sorted(kept)])


def _common(folders: list[str]) -> str:
    parts = [folder.split("/") for folder in folders]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared)


def names_below(names: list[str], root: str) -> list[str]:
    """The names without their common folder `root`."""
    return [name[len(root) + 1 :] if root else name for name in names]
