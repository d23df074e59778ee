"""dvc.yaml is complete: every stage names all the code it imports and every section of the parameters it reads."""

import ast
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml

from components.config import Config, ScheduleParams
from components.stage.stages import STAGES
from tests.samples import ROOT

MODULES = {"local_files": "components.data.local_files", **STAGES}
SECTIONS = {  # their fields; threads change no byte
    field.alias or name: getattr(field.annotation, "model_fields", {})
    for name, field in Config.model_fields.items()
    if name != "threads"
}
DERIVED = {  # properties of Config: what they read
    "training_prompt": {"prompt", "train"},
    "shots_tried": {"train", "select_shots"},
    "register_": {"register"},
    "schedule": {f"train.{name}" for name in ScheduleParams.model_fields},  # it has no other keys
}


@cache
def dag() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("components", cache_dir=None)


def file_of(module: str) -> Path:
    place = Path(*module.split("."))
    file = place.with_suffix(".py")
    return file if (ROOT / file).is_file() else place / "__init__.py"


def closure(stage: str) -> set[Path]:
    """Files of a stage's module and of all it imports, late imports included."""
    modules = {MODULES[stage], *graph().find_upstream_modules(MODULES[stage])}
    return {file for module in modules if (ROOT / (file := file_of(module))).read_text(encoding="utf-8")}


def keys_read(file: Path) -> set[str]:
    """What a file reads of the parameters: `score.reranker`, or `score` where it passes the section on.

    It looks for `config.SECTION`, `context.config.SECTION` and `load_config(file).SECTION`.
    """
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    outer = {inner: node for node in ast.walk(tree) for inner in ast.iter_child_nodes(node)}
    keys: set[str] = set()
    for node in ast.walk(tree):
        holder = node.value if isinstance(node, ast.Attribute) else None
        function = getattr(getattr(holder, "func", None), "id", "")
        if function != "load_config" and "config" not in (getattr(holder, "id", ""), getattr(holder, "attr", "")):
            continue
        key = getattr(outer[node], "attr", "")
        single = f"{node.attr}.{key}" if key in SECTIONS.get(node.attr, {}) else node.attr
        keys |= DERIVED.get(node.attr) or ({single} if node.attr in SECTIONS else set())
    return keys


def is_within(key: str, stated: str) -> bool:
    return key == stated or key.startswith(f"{stated}.")


def test_every_stage_of_the_dag_has_its_parameters_module_and_folder():
    assert list(dag()) == list(MODULES)
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert [stage["cmd"] for stage in dag().values()] == [f"foundry stage {name}" for name in MODULES]
    for name in STAGES:
        stage = dag()[name]
        assert stage["outs"] == [f"outputs/{name}"]
        assert name in parameters
        assert name in stage["params"]


@pytest.mark.parametrize("stage", MODULES)
def test_a_stage_depends_on_all_the_code_it_imports(stage):
    stated = [Path(dependency) for dependency in dag()[stage]["deps"] if dependency.startswith("components/")]
    missing = [str(file) for file in closure(stage) if not any(file.is_relative_to(place) for place in stated)]
    assert not sorted(missing), f"dvc.yaml: stages.{stage}.deps: add {', '.join(sorted(missing))}"


@pytest.mark.parametrize("stage", MODULES)
def test_a_stage_states_no_code_that_it_does_not_import(stage):
    stated = [Path(dependency) for dependency in dag()[stage]["deps"] if dependency.startswith("components/")]
    unused = [str(place) for place in stated if not any(file.is_relative_to(place) for file in closure(stage))]
    assert not unused


@pytest.mark.parametrize("stage", MODULES)
def test_a_stage_states_the_parameters_that_it_reads_and_no_others(stage):
    read = set().union(*(keys_read(file) for file in closure(stage)))
    stated = dag()[stage]["params"]
    missing = {key for key in read if not any(is_within(key, one) for one in stated)}
    assert not missing, f"dvc.yaml: stages.{stage}.params: add {', '.join(sorted(missing))}"
    by_text = {"fetch"} if stage == "register" else set()  # components/tracking/summary.py reads a plain mapping
    unused = {one for one in stated if not any(is_within(key, one) for key in read)} - by_text
    assert not unused, f"dvc.yaml: stages.{stage}.params: remove {', '.join(sorted(unused))}"


def test_a_parameter_that_dvc_follows_by_itself_has_no_default():
    """DVC ends with an error where params.yaml leaves such a key out."""
    single = {key for stage in dag().values() for key in stage["params"] if "." in key}
    assert "train.steps" in single
    for section, key in (key.split(".") for key in sorted(single)):
        assert SECTIONS[section][key].is_required(), f"{section}.{key} has a default in components/config"


def test_a_changed_learning_rate_starts_at_train():
    changed = "train.learning_rate"
    first = next(name for name, stage in dag().items() if any(is_within(changed, one) for one in stage["params"]))
    assert first == "train"


def test_own_files_are_listed_every_time_and_fetch_depends_on_the_list():
    stage = dag()["local_files"]
    assert stage["always_changed"] is True
    assert list(stage["outs"][0]) == ["outputs/local_files"]
    assert "outputs/local_files" in dag()["fetch"]["deps"]
    assert [name for name, stage in dag().items() if stage.get("always_changed")] == ["local_files"]


def test_the_closure_sees_late_imports_and_shared_rooms():
    assert Path("components/base/hashing.py") in closure("fetch")
    assert Path("components/data/random_model.py") in closure("fetch")
    assert Path("components/model/sentence_model.py") in closure("evaluate")
