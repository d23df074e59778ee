"""The plan as text: its table, what does not fit and the parameter to change."""

from pathlib import Path

import pytest

from components.plan.devices import GIB, GPUS
from components.plan.report import findings, own_outputs, plan_run, scaling_tables
from components.plan.stages import make_plan
from components.plan.tokens import estimated_texts
from tests.plan.samples import full
from tests.samples import ROOT, write_training_tables


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"gradcache": False}, "train.gradient_checkpointing: true"),
        ({"gradcache": False, "gradient_checkpointing": True}, "train.gradcache: true"),
        ({"gradient_checkpointing": True}, "train.quantization: 4bit"),
    ],
)
def test_a_gpu_too_small_is_told_with_what_to_change(changes, cure):
    config, device = full(**changes), GPUS["A100"]
    if config.train.gradcache:
        device = type(device)("tiny", 16 * GIB, device.flops)
    plan = make_plan(config, estimated_texts(config), Path("nowhere"), device, 1)
    wrong, _ = findings(config, plan, device, Path("nowhere"), free=1e15, host=1e15)
    assert any(line.startswith("train: needs") and cure in line for line in wrong)


def test_a_disk_and_a_host_too_small_are_told():
    config = full()
    plan = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS["H200"], 1)
    wrong, tight = findings(config, plan, GPUS["H200"], Path("nowhere"), free=1e9, host=1e9)
    assert any("disk" in line and "retrieve.depth" in line for line in wrong)
    assert any(line.startswith("prepare: needs") and "prepare.tasks.<task>.train" in line for line in tight)
    assert any(line.startswith("train: needs") and "the model's weights pass through it" in line for line in tight)


@pytest.mark.slow
def test_the_report_has_the_table_and_says_what_does_not_fit(monkeypatch):
    from collections import namedtuple

    for free, problems in ((10**15, []), (10**6, ["disk"])):
        usage = namedtuple("usage", "free")(free)
        monkeypatch.setattr("components.plan.report.shutil.disk_usage", lambda _, usage=usage: usage)
        report = plan_run(ROOT / "recipes" / "mistral-7b.yaml", ROOT, GPUS["H100"], 1, None, None, hub=False)
        assert "| train |" in report.text
        assert [line.partition(":")[0] for line in report.wrong] == problems


@pytest.mark.slow
def test_the_page_of_docs_scaling_is_up_to_date():
    page = scaling_tables(ROOT / "recipes" / "mistral-7b.yaml", ROOT, GPUS["H100"], None)
    assert page in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_another_runs_data_are_not_counted(tmp_path):
    config = full()
    write_training_tables(tmp_path / "outputs")
    assert own_outputs(config, tmp_path) != tmp_path / "outputs"
    tasks = dict.fromkeys(("words", "animals"), next(iter(config.prepare.tasks.values())))
    same = config.model_copy(update={"prepare": config.prepare.model_copy(update={"tasks": tasks})})
    assert own_outputs(same, tmp_path) == tmp_path / "outputs"
