"""dvc.yaml is complete: every stage names all the code it imports and every section of the parameters it reads."""

import ast
from functools import cache
from pathlib import Path

import grimp
import pytest
import yaml

from components.config import Config
from components.stage.stages import STAGES
from tests.samples import ROOT

MODULES = {"local_files": "components.data.local_files", **STAGES}
SECTIONS = {field.alias or name for name, field in Config.model_fields.items()} - {"threads"}  # threads change no byte
DERIVED = {  # properties of Config: what they read
    "training_prompt": {"prompt", "train"},
    "shots_tried": {"train", "select_shots"},
    "register_": {"register"},
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


def sections_read(file: Path) -> set[str]:
    """Sections of the parameters that a file reads: every `config.SECTION` and `context.config.SECTION`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            holder = node.value
            name = (
                holder.id if isinstance(holder, ast.Name) else holder.attr if isinstance(holder, ast.Attribute) else ""
            )
            if name == "config":
                found |= DERIVED.get(node.attr, {node.attr})
    return found & SECTIONS


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
def test_a_stage_states_every_section_of_the_parameters_it_reads(stage):
    read = set().union(*(sections_read(file) for file in closure(stage)))
    missing = read - set(dag()[stage]["params"])
    assert not missing, f"dvc.yaml: stages.{stage}.params: add {', '.join(sorted(missing))}"


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
