"""Check before a run that the hub still has every pinned revision."""

from components.base.errors import UserError
from components.config import Config, HubOrigin
from components.data.origins import check_hub


def hub_problems(config: Config) -> list[str]:
    """One line for each repository that is missing, gated or unreachable; each is checked once.

    If the hub itself is unreachable, the check stops after one line.
    """
    named = [(f"fetch.models.{name}.origin", model.origin, "model") for name, model in config.fetch.models.items()]
    named += [(f"fetch.sources.{name}.origin", one.origin, "dataset") for name, one in config.fetch.sources.items()]
    found, checked = [], set()
    for key, origin, kind in named:
        if not isinstance(origin, HubOrigin) or (kind, origin.repo, origin.revision) in checked:
            continue
        checked.add((kind, origin.repo, origin.revision))
        try:
            check_hub(origin, key, kind)
        except UserError as problem:
            found.append(str(problem))
            if "cannot be reached" in str(problem):
                break
    return found
