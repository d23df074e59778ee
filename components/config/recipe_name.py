"""The name of the recipe that a checkout runs, from the values of its params.yaml: no note of it can go stale."""

from pathlib import Path

from components.base.errors import UserError
from components.config.extends import FOLDER, read_parameters, recipe_files
from components.config.flatten import flatten

SHOWN = 3  # changed values that are named one by one
OWN_SHARE = 0.5  # params.yaml with more of its values changed than this is no variant of a recipe


def recipe_name(root: Path) -> str:
    """The nearest recipe of `root`, and what params.yaml changes in it: `starter`, `starter + train.steps=50`.

    `own` if no recipe is near. A recipe that does not parse is left out.
    """
    own = flatten(read_parameters(root / "params.yaml"))
    near: tuple[int, str, list[str]] | None = None
    for name, file in recipe_files(root / FOLDER).items():
        try:
            values = flatten(read_parameters(file))
        except UserError:
            continue
        changed = sorted(key for key in own.keys() | values.keys() if own.get(key) != values.get(key))
        if near is None or len(changed) < near[0]:
            near = (len(changed), name, changed)
    if near is None or near[0] > OWN_SHARE * len(own):
        return "own"
    count, name, changed = near
    if not count:
        return name
    if count > SHOWN:
        return f"{name} + {count} values"
    return f"{name} + " + " ".join(f"{key}={own.get(key, 'removed')}" for key in changed)
