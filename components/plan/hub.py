"""Check before a run that the hub gives what the recipe takes: repositories, revisions, access, paths and sizes."""

from dataclasses import dataclass

from components.config import Config
from components.data.hub_files import GIB, check_hub_files, disk_problem, missing_bytes


@dataclass(frozen=True)
class HubReport:
    """A Markdown table of the hub origins, empty if there are none, and one line for each problem."""

    table: str
    problems: list[str]


def check_hub(config: Config) -> HubReport:
    """Ask the hub for every repository, once each; nothing is downloaded.

    If the hub itself is unreachable, the check stops after one line.
    """
    items = list(check_hub_files(config.fetch))
    if not items:
        return HubReport("", [])
    lines = ["| from the hub | repository | files | GiB | to download, GiB | |", "|---|---|---|---|---|---|"]
    for item in items:
        size = sum(file.size for file in item.files.values()) / GIB
        missing = missing_bytes([item]) / GIB
        name = item.key.removeprefix("fetch.").removesuffix(".origin")
        state = "see below" if item.problem else "ok"
        lines.append(f"| {name} | {item.repo.name} | {len(item.files)} | {size:.2f} | {missing:.2f} | {state} |")
    lines.append(f"| all, shared files once | | | | {missing_bytes(items) / GIB:.2f} | |")
    problems = [item.problem for item in items if item.problem]
    full = disk_problem(items)
    return HubReport("\n".join(lines), [*problems, *([full] if full else [])])
