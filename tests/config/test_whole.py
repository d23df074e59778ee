"""Checks over sections: all that fail are named; every stage has its section."""

from pathlib import Path

import pytest
import yaml

from components.config import parse_config
from components.errors import UserError
from tests.samples import ROOT, small_parameters


def test_every_failed_check_is_named():
    changes = {"train.query_tokens": 999, "retrieve.keep_vectors": ["nobody"], "prepare.tasks.fiqa.source": "nowhere"}
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**changes), "params.yaml")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "train.query_tokens",
        "prepare.tasks.fiqa.source",
        "retrieve.keep_vectors",
    ]


def test_in_batch_teacher_must_be_kept():
    soft = {"in_batch": {"teacher": "dense_teacher"}}
    with pytest.raises(UserError, match=r"in_batch\.teacher: add 'dense_teacher' to retrieve\.keep_vectors"):
        parse_config(small_parameters(**{"train.distillation": soft, "retrieve.keep_vectors": []}), "params.yaml")


def test_every_stage_of_the_dag_has_its_parameters_module_and_folder():
    from components.stage import STAGES

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(stages) == list(STAGES)
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m components.stage {name}"
        assert stage["outs"] == [f"outputs/{name}"]
        assert name in parameters
        assert name in stage["params"]
        module = Path(*STAGES[name].split(".")).with_suffix(".py")
        assert (ROOT / module).is_file()
        assert any(module.is_relative_to(dependency) for dependency in stage["deps"]), f"{name}: {module} is no dep"
