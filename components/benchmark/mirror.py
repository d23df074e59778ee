"""A local mirror of a benchmark's data sets: `foundry mirror FOLDER [--benchmark NAME]`.

Run it on a machine with network access, copy the folder, and set `evaluate.mirror` to it. Every data set is a copy of
the whole repository at the revision that mteb pins, in `FOLDER/<repository>`. A finished copy is marked with that
revision and not fetched again, so an interrupted run resumes. A bare Hugging Face cache is no substitute: offline,
`datasets` then sees one configuration only, and mteb silently ranks the whole corpus in both reranking tasks.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from components.base.errors import UserError
from components.base.progress import progress
from components.benchmark.tasks import mteb_task, mteb_task_names

MARK = ".revision"
Download = Callable[[str, str, Path], None]


def make_mirror(folder: Path, benchmark: str, download: Download, tasks: Sequence[str] = ()) -> list[str]:
    """Copy the data sets of `tasks` (all of the benchmark when empty); returns the repositories fetched now.

    Args:
        download: (repository, revision, folder) -> None, writes the repository's files to the folder.

    Raises:
        UserError: unknown benchmark or task, or a repository that can't be downloaded.
    """
    known = mteb_task_names(benchmark)
    unknown = sorted(set(tasks) - set(known))
    if unknown:
        raise UserError(f"{unknown[0]} is no task of {benchmark}; one of {', '.join(known)}")
    fetched = []
    for name in progress(list(tasks) or known, "mirror", unit="task"):
        where = mteb_task(name, benchmark=benchmark).metadata.dataset
        repository, revision = str(where["path"]), str(where["revision"])
        copy = folder / repository
        if (copy / MARK).is_file() and (copy / MARK).read_text(encoding="utf-8").strip() == revision:
            continue
        copy.mkdir(parents=True, exist_ok=True)
        download(repository, revision, copy)
        (copy / MARK).write_text(revision + "\n", encoding="utf-8")
        fetched.append(repository)
    return fetched


def from_hub(repository: str, revision: str, folder: Path) -> None:
    """Fetch a data set repository from the hub into `folder`. Raises UserError when it can't be downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(repository, repo_type="dataset", revision=revision, local_dir=folder)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as problem:
        reason = str(problem).splitlines()[0]
        raise UserError(f"{repository}@{revision}: download from the hub failed: {reason}; run this again") from None


def check_mirror(folder: Path, benchmark: str) -> None:
    """Raises UserError if a data set, or the candidates of a reranking task, are missing."""
    from datasets import get_dataset_config_names

    for name in mteb_task_names(benchmark):
        task = mteb_task(name, folder, benchmark)
        path = str(task.metadata.dataset["path"])
        if task.metadata.type == "Reranking" and "top_ranked" not in get_dataset_config_names(path):
            raise UserError(f"{path}: config top_ranked is missing; delete the folder and mirror it again")
