"""What a run merges: its last checkpoints, its bags, or its adapter and the one that it went on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.base.errors import UserError
from components.config import parse_config
from components.training.merge import merge_adapters
from components.training.trainer import Trainer
from components.training.weights import copy_to_host
from tests.samples import small_parameters

BAGS = {"of": "bags", "number": 3, "fraction": 0.5}
Weights = dict[str, torch.Tensor]


def after_each_step(trainer: Trainer) -> list[Weights]:
    """The weights after each step, as they come."""
    seen: list[Weights] = []
    update = trainer._update

    def noted(step: int) -> float:
        norm = update(step)
        seen.append(copy_to_host(trainer.named))
        return norm

    trainer._update = noted  # type: ignore[method-assign]
    return seen


def update(weights: Weights, name: str) -> torch.Tensor:
    """B A of a projection."""
    return weights[name.replace("lora_A", "lora_B")] @ weights[name]


def assert_merged(trainer: Trainer, parts: list[Weights], shares: list[float]) -> None:
    expected = merge_adapters(parts, shares, trainer.params.merge.method)  # type: ignore[union-attr]
    torch.testing.assert_close(copy_to_host(trainer.named), expected.weights)
    assert trainer.merged["train.merge_error"] == pytest.approx(expected.error)


def test_the_last_checkpoints_and_the_end_are_merged(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(**{"train.steps": 7, "train.merge": {"of": "checkpoints", "number": 3}})
    seen = after_each_step(trainer)
    trainer.fit()
    assert_merged(trainer, [seen[3], seen[5], seen[6]], [1 / 3] * 3)
    name = next(name for name in trainer.named if "lora_A" in name)
    parts = [seen[step] for step in (3, 5, 6)]
    u, values, v = torch.linalg.svd(torch.stack([update(one, name) for one in parts]).mean(0), full_matrices=False)
    rank = trainer.params.lora.rank
    closest = (u[:, :rank] * values[:rank]) @ v[:rank]  # of that rank to the mean of the updates
    torch.testing.assert_close(update(copy_to_host(trainer.named), name), closest, atol=1e-6, rtol=1e-4)
    names = sorted(file.name for file in (tmp_path / "checkpoints").glob("part-*"))
    assert names == [f"part-0000000{step}.safetensors" for step in (4, 6, 7)]


def test_bags_start_alike_and_learn_from_samples(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(**{"train.merge": BAGS, "train.warmup_steps": 1, "train.schedule": "linear"})
    start, seen, begun = copy_to_host(trainer.named), after_each_step(trainer), []
    run_step = trainer._run_step

    def noted(step: int, take: Any) -> dict[str, Any]:
        if step in (0, 2, 4):
            begun.append((copy_to_host(trainer.named), len(trainer.optimizer.state), trainer._rate(step)))
        return run_step(step, take)

    trainer._run_step = noted  # type: ignore[method-assign]
    trainer.fit()
    for weights, moments, rate in begun:
        torch.testing.assert_close(weights, start)
        assert (moments, rate) == (0, trainer.params.learning_rate)
    assert_merged(trainer, [seen[1], seen[3], seen[5]], [1 / 3] * 3)


def test_a_bag_draws_from_its_own_sample(make_trainer: Callable[..., Trainer]) -> None:
    schedule = make_trainer(**{"train.steps": 300, "train.merge": BAGS}).batches.schedule
    drawn: dict[tuple[str, int], set[int]] = {}
    for turn in schedule.plan:
        drawn.setdefault((turn.task, turn.bag), set()).update(schedule.draw(turn).tolist())
    for task, size in schedule.sizes.items():
        samples = [drawn[task, bag] for bag in range(3)]
        assert {len(sample) for sample in samples} == {round(size / 2)}
        assert len({frozenset(sample) for sample in samples}) == 3
        union = np.zeros(size, dtype=bool)
        union[list(set().union(*samples))] = True
        assert schedule.drawn()[task].tolist() == union.tolist()  # what score scores


def test_the_new_adapter_is_merged_with_the_one_it_went_on_from(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(**{"train.steps": 2})
    merge = {"of": "init_adapter", "method": "slerp", "weight": 0.3}
    raw = small_parameters(**{"train.steps": 2, "train.init_adapter": "before", "train.merge": merge})
    raw["fetch"]["models"]["before"] = {
        "origin": {"kind": "local", "path": "before", "licence": "none"},
        "format": "adapter",
    }
    with torch.no_grad():
        for weight in trainer.named.values():
            weight.add_(0.1)  # what load_adapter would have put there
    start = copy_to_host(trainer.named)
    config = parse_config(raw, "test")
    again = Trainer(
        trainer.model, trainer.prompt, trainer.batches.data, config, trainer.work, trainer.log, trainer.world
    )
    seen = after_each_step(again)
    again.fit()
    assert_merged(again, [start, seen[-1]], [0.7, 0.3])


@pytest.mark.slow
def test_a_run_that_was_stopped_between_bags_merges_the_same(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    whole = make_trainer(work=tmp_path / "whole", **{"train.merge": BAGS})
    whole.fit()
    stopped = make_trainer(work=tmp_path / "stopped", **{"train.merge": BAGS})
    run_step = stopped._run_step

    def broken(step: int, take: Any) -> dict[str, Any]:
        if step == 3:
            raise KeyboardInterrupt
        return run_step(step, take)

    stopped._run_step = broken  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    again = make_trainer(work=tmp_path / "stopped", **{"train.merge": BAGS})
    assert again.fit() == whole.fit()
    assert all(torch.equal(weight, whole.named[name]) for name, weight in again.named.items())


def test_dev_scores_the_merged_adapter(make_trainer: Callable[..., Trainer]) -> None:
    dev = {"every": 2, "queries": 4, "documents": 8}
    trainer = make_trainer(**{"train.merge": {"of": "checkpoints", "number": 2}, "train.dev": dev})
    scores = iter([0.9, 0.2, 0.3, 0.4])
    trainer._check_dev = lambda step: next(scores)  # type: ignore[method-assign]
    seen = after_each_step(trainer)
    trainer.fit()
    assert trainer.merged["train.dev_ndcg_at_10"] == 0.4
    assert_merged(trainer, [seen[3], seen[5]], [0.5, 0.5])  # not that of the best check


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.merge": {"of": "bags", "number": 2}}, "of: bags needs fraction"),
        ({"train.merge": {"of": "checkpoints", "number": 2, "fraction": 0.5}}, "fraction has no effect on checkpoints"),
        ({"train.merge": {"of": "init_adapter", "weight": 0.5}}, "merge.of: init_adapter needs init_adapter"),
        (
            {"train.merge": {"of": "checkpoints", "number": 4}},
            "merge.number: 4 is over 3, the checkpoints of",
        ),
        ({"train.merge": BAGS, "train.dev": {"every": 2, "patience": 1}}, "an early stop would leave bags out"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(small_parameters(**changes), "test")
