"""Parameter files as plain values: YAML, and the base of a recipe that `extends: NAME` with the lines that differ.

    extends: mistral-7b            recipes/mistral-7b.yaml, except:
    remove: [prepare.tasks.fiqa]   keys of the base to leave out, by dotted path
    train: {steps: 6000}           mappings merge key by key, lists and single values replace

`null` is a value (no BM25, no cap), so it does not remove a key: `remove` does. It comes first, so a mapping that is
removed and written again is replaced as a whole.
"""

import difflib
from pathlib import Path
from typing import Any

import yaml

from components.base.errors import UserError

FOLDER = "recipes"


class _UniqueKeys(yaml.constructor.SafeConstructor):
    """YAML without the silent loss: a key that is given twice in one mapping is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)  # type: ignore[call-arg]  # the loader's, next to this class in both below
        self._checked: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys of a mapping before those of what it merges (`<<`) are put in front of them."""
        if node not in self._checked:
            self._checked.add(node)
            _refuse_repeated_keys(node)
        super().flatten_mapping(node)


class _FastLoader(_UniqueKeys, yaml.CSafeLoader):
    """By libyaml: a tenth of the time, but its errors do not show the line."""


class _ExactLoader(_UniqueKeys, yaml.SafeLoader):
    """In Python, for the text of an error."""


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if (key.tag, key.value) in seen:
            raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
        seen.add((key.tag, key.value))


def _load(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_FastLoader)
    except yaml.YAMLError:
        return yaml.load(text, Loader=_ExactLoader)


def read_parameters(path: Path) -> Any:
    """The values of a parameter file, merged with the recipe it extends; not validated.

    Raises:
        UserError: the file is missing or no YAML; `extends` names no recipe or comes back to itself; `remove` names
            a key that the base does not have.
    """
    return _read_derived(path, ())


def is_derived(path: Path) -> bool:
    """Whether a parameter file extends a recipe."""
    raw = read_yaml(path)
    return isinstance(raw, dict) and "extends" in raw


def read_yaml(path: Path) -> Any:
    """The values of one YAML file. Raises UserError: it is missing, or is not valid YAML."""
    try:
        return _load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such parameter file; copy one from recipes/") from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{path}: not UTF-8 at byte {problem.start}; save it as UTF-8") from None
    except yaml.YAMLError as problem:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from None


def recipe_files(folder: Path) -> dict[str, Path]:
    """The recipes of a folder, by name and in its order."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)}


def recipe_file(name: str, folder: Path) -> Path:
    """The file of a recipe, by its name. Raises UserError with the names there are."""
    known = recipe_files(folder)
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"no recipe {name!r} in {folder}/; {hint}there are {', '.join(known) or 'none'}")


def _read_derived(path: Path, above: tuple[Path, ...]) -> Any:
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not {"extends", "remove"} & raw.keys():
        return raw
    own = {key: value for key, value in raw.items() if key not in ("extends", "remove")}
    base = _base_of(path, raw)
    if base in (*above, path):
        chain = " -> ".join(file.stem for file in (*above, path, base))
        raise UserError(f"{path}: extends: circular, {chain}; end the chain in a recipe without extends")
    values = _read_derived(base, (*above, path))
    for key in _removed_keys(path, raw):
        values = _without(values, key.split("."), f"{path}: remove: {base.stem} has no {key}; correct or delete it")
    return merge(values, own)


def _base_of(path: Path, raw: dict[Any, Any]) -> Path:
    if "extends" not in raw:
        raise UserError(f"{path}: remove: goes with extends, and only with it; delete the keys instead")
    if path.resolve().parent.name != FOLDER:
        raise UserError(
            f"{path}: extends: only files of {FOLDER}/ may, DVC reads every section of params.yaml; put the lines in "
            f"{FOLDER}/NAME.yaml, then: make run RECIPE=NAME"
        )
    if not isinstance(raw["extends"], str):
        raise UserError(f"{path}: extends: must be the name of one recipe, such as starter")
    try:
        return recipe_file(raw["extends"], path.parent)
    except UserError as problem:
        raise UserError(f"{path}: extends: {problem}") from None


def _removed_keys(path: Path, raw: dict[Any, Any]) -> list[str]:
    keys = raw.get("remove", [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UserError(f"{path}: remove: must be a list of keys, such as [prepare.tasks.fiqa]")
    return keys


def _without(values: Any, path: list[str], missing: str) -> Any:
    """`values` without the key at `path`; UserError(missing) when it is not there."""
    first, *rest = path
    if not isinstance(values, dict) or first not in values:
        raise UserError(missing)
    if rest:
        return {**values, first: _without(values[first], rest, missing)}
    return {key: value for key, value in values.items() if key != first}


def merge(base: Any, own: Any) -> Any:
    """`base` with the values of `own`: mappings key by key in the order of `base`, everything else replaced.

    >>> merge({"train": {"steps": 3, "lora": {"rank": 16}}, "seed": 1}, {"train": {"lora": {"rank": 8}}})
    {'train': {'steps': 3, 'lora': {'rank': 8}}, 'seed': 1}
    """
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return {**base, **{key: merge(base[key], value) if key in base else value for key, value in own.items()}}
