"""Cost of each stage: hours by number of cards, host memory, disk, few-shot evaluation."""

from dataclasses import replace
from pathlib import Path

import pytest

from components.config import load_config
from components.plan.devices import GPUS
from components.plan.report import shots_line
from components.plan.stages import few_shot_tasks, make_plan
from components.plan.tokens import estimated_texts
from components.stage.stages import STAGES
from tests.plan.samples import MISTRAL, full
from tests.samples import ROOT


@pytest.mark.slow
def test_every_recipe_has_a_plan_of_all_stages():
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        config = load_config(path)
        plan = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS["H100"], 1)
        assert [cost.stage for cost in plan.costs] == list(STAGES)
        assert all(cost.flops > 0 for cost in plan.costs if cost.stage in {"retrieve", "train", "evaluate"})


@pytest.mark.slow
def test_more_devices_take_less_time_and_no_fewer_flops():
    config = full(processes=8)
    plan = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS["H100"], 8)
    for cost in plan.costs:
        one, eight = (cost.hours(GPUS["H100"], n, 0.5) for n in (1, 8))
        assert one == pytest.approx(8 * eight if cost.flops else eight)
    hours = {cost.stage: cost.hours(GPUS["H100"], 8, 0.5) for cost in plan.costs}
    assert hours["prepare"] > 0 < hours["mine"]  # on the processor, by measured rates
    alone = make_plan(full(), estimated_texts(config), Path("nowhere"), GPUS["H100"], 8).costs[5]
    assert alone.hours(GPUS["H100"], 8, 0.5) == alone.hours(GPUS["H100"], 1, 0.5)  # train.processes: 1 uses one card


@pytest.mark.slow
def test_the_host_holds_the_weights_on_their_way_to_a_gpu():
    config = full()
    weights = 2 * MISTRAL.total
    costs = {cost.stage: cost for cost in make_plan(config, estimated_texts(config), Path("no"), GPUS["H100"], 1).costs}
    assert all(costs[stage].host > weights for stage in ("train", "select_shots", "evaluate"))
    cpu = replace(GPUS["H100"], is_gpu=False)
    on_cpu = {cost.stage: cost for cost in make_plan(config, estimated_texts(config), Path("no"), cpu, 1).costs}
    for stage in ("train", "select_shots"):  # there they are counted once, as the model's
        assert on_cpu[stage].host < weights < on_cpu[stage].gpu


def test_the_rehearsals_weights_take_two_bytes_a_number_on_disk():
    config = load_config(ROOT / "recipes" / "rehearsal-7b.yaml")
    fetch = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS["H100"], 1).costs[0]
    assert 2 * MISTRAL.total < fetch.disk < 2.1 * MISTRAL.total


@pytest.mark.slow
def test_few_shot_evaluation_is_counted_where_shots_arrive():
    config = full()
    assert len(few_shot_tasks(config)) == 22
    assert shots_line(config) == "shots: 0 to 5; they may reach 22 of 41 benchmark tasks"
    without = config.model_copy(update={"select_shots": config.select_shots.model_copy(update={"max_shots": 0})})
    assert few_shot_tasks(without) == []
    tokens = [
        {cost.stage: cost.tokens for cost in make_plan(c, estimated_texts(c), Path("nowhere"), GPUS["H100"], 1).costs}
        for c in (config, without)
    ]
    assert tokens[0]["evaluate"] > tokens[1]["evaluate"]
    assert tokens[0]["select_shots"] > tokens[1]["select_shots"]
    stated = config.evaluate.model_copy(update={"shots": {"TRECCOVID": []}})
    assert "TRECCOVID" in few_shot_tasks(config.model_copy(update={"evaluate": stated}))
