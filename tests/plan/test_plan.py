"""The plan's table, what it refuses, and that it agrees with a run's batches and with the 7B's true shape."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.base.errors import UserError
from components.config import load_config, parse_config
from components.model.backbone import load_tokenizer
from components.model.prompt import Prompt
from components.plan.devices import GIB, GPUS, device_named
from components.plan.memory import RowSize, training_memory
from components.plan.report import findings, own_outputs, plan_run, scaling_tables, shots_line
from components.plan.shapes import KNOWN, read_shape, shape_of
from components.plan.stages import few_shot_tasks, make_plan
from components.plan.tokens import counted_texts, estimated_texts, training_tokens
from components.stage.stages import STAGES
from components.training.batches import Batches
from components.training.examples import load_training_data
from components.training.rows import pack_rows
from components.training.token_ids import TrainingTokens
from components.training.world import World
from tests.samples import ROOT, small_parameters, write_training_tables

MISTRAL = KNOWN["mistralai/Mistral-7B-v0.1"]


def full(**changes):
    config = load_config(ROOT / "recipes" / "mistral-7b.yaml")
    return config.model_copy(update={"train": config.train.model_copy(update=changes)}) if changes else config


def test_mistral_7b_on_the_meta_device_has_the_planned_shape():
    from peft import LoraConfig, get_peft_model
    from transformers import MistralConfig, MistralModel

    from components.model.backbone import PROJECTIONS

    with torch.device("meta"):
        model = MistralModel(MistralConfig(vocab_size=32_003))
        assert sum(p.numel() for p in model.parameters()) == 7_110_672_384
        adapted = get_peft_model(model, LoraConfig(r=64, target_modules=list(PROJECTIONS)))
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert MISTRAL.total + 3 * MISTRAL.hidden == 7_110_672_384
    assert MISTRAL.lora(64) == trainable == 167_772_160
    memory = training_memory(MISTRAL, full(), [RowSize(4096)], "bf16", gpu=True)
    assert memory.base == pytest.approx(2 * 7_110_672_384, rel=1e-3)
    assert memory.adapter == 16 * trainable


def test_one_h100_holds_long_texts_and_24_gib_hold_the_4_bit_base():
    """512-token texts behind a 1,536-token prefix, 128 queries with 8 passages each; issue 7's figures, by the plan."""
    row = RowSize(1536 + 5 * 512, 1536, 5)
    long = full(batch_queries=128, negatives=7, row_tokens=row.tokens)
    rows = [row] * 26 + [RowSize(4096)] * 128
    assert training_memory(MISTRAL, long, rows, "bf16", gpu=True).peak < 80e9
    small = load_config(ROOT / "recipes" / "mistral-7b-qlora-24gb.yaml")
    rows = [RowSize(small.train.row_tokens, 1536, 2)] * 64
    assert training_memory(MISTRAL, small, rows, "bf16", gpu=True).peak < 24e9


def test_every_recipe_has_a_plan_of_all_stages():
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        config = load_config(path)
        plan = make_plan(config, estimated_texts(config), Path("nowhere"), GPUS["H100"], 1)
        assert [cost.stage for cost in plan.costs] == list(STAGES)
        assert all(cost.flops > 0 for cost in plan.costs if cost.stage in {"retrieve", "train", "evaluate"})


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


@pytest.mark.parametrize("lengths", [{}, {"train.query_tokens": 6, "train.document_tokens": 12}])
def test_counted_tokens_are_those_of_the_run(tiny_student, tmp_path, lengths):
    write_training_tables(tmp_path, pairs=60)
    shots = {"max": 2, "share": 4}
    config = parse_config(small_parameters(**{"train.steps": 60, "train.shots": shots, **lengths}), "test")
    tokenizer = load_tokenizer(tiny_student, config.prompt)
    trained = Prompt(tokenizer, config.training_prompt)
    data = load_training_data(tmp_path, tmp_path / "cache")
    batches = Batches(data, config.train, config.seed)
    tokens = TrainingTokens(data, trained, tmp_path / "cache", World())
    how = config.train.row_tokens, config.encoder, World()
    real = sum(placed.tokens for i in range(60) for placed in pack_rows(tokens.of(batches[i]), *how))
    counted = counted_texts(tmp_path, Prompt(tokenizer, config.prompt), config.training_prompt)
    assert training_tokens(config, counted) == pytest.approx(real, rel=0.1)


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


def test_the_report_has_the_table_and_says_what_does_not_fit(monkeypatch):
    from collections import namedtuple

    for free, problems in ((10**15, []), (10**6, ["disk"])):
        usage = namedtuple("usage", "free")(free)
        monkeypatch.setattr("components.plan.report.shutil.disk_usage", lambda _, usage=usage: usage)
        report = plan_run(ROOT / "recipes" / "mistral-7b.yaml", ROOT, GPUS["H100"], 1, None, None, hub=False)
        assert "| train |" in report.text
        assert [line.partition(":")[0] for line in report.wrong] == problems


def test_unknown_devices_and_models_are_named(tmp_path):
    with pytest.raises(UserError, match="--gpu X1: unknown"):
        device_named("X1")
    config = full()
    stranger = config.fetch.models["student"].model_copy(
        update={"origin": config.fetch.models["student"].origin.model_copy(update={"repo": "some/one"})}
    )
    with pytest.raises(UserError, match="some/one is not known yet; run dvc repro fetch"):
        shape_of("student", stranger, tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(UserError, match="no field 'num_attention_heads'"):
        read_shape(tmp_path / "config.json")


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
