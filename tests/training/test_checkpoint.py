"""Checkpoints: whole or not there; damage and strangers are told apart."""

import pytest
import torch

from components.base.errors import UserError
from components.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint


def trained(seed=0):
    torch.manual_seed(seed)
    named = {"a": torch.nn.Parameter(torch.randn(3, 2)), "b": torch.nn.Parameter(torch.randn(4))}
    optimizer = torch.optim.AdamW(named.values(), lr=0.1)
    (named["a"].sum() + named["b"].square().sum()).backward()
    optimizer.step()
    return named, optimizer


def test_weights_and_moments_come_back(tmp_path):
    named, optimizer = trained()
    path = save_checkpoint(tmp_path, 5, named, optimizer, {"curve": [1]})
    fresh, other = trained(seed=1)
    state = load_checkpoint(path, fresh, other)
    assert (state["step"], state["curve"]) == (5, [1])
    for name in named:
        assert torch.equal(fresh[name], named[name])
    for mine, theirs in zip(
        other.state_dict()["state"].values(), optimizer.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_the_newest_two_are_kept_and_partial_ones_do_not_count(tmp_path):
    named, optimizer = trained()
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, named, optimizer, {})
    (tmp_path / "step-00000009.partial").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    named, optimizer = trained()
    path = save_checkpoint(tmp_path, 1, named, optimizer, {})
    file = path / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_checkpoint(path, named, optimizer)
    (path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not a complete checkpoint"):
        load_checkpoint(path, named, optimizer)


def test_a_checkpoint_of_another_adapter_is_refused(tmp_path):
    named, optimizer = trained()
    path = save_checkpoint(tmp_path, 1, named, optimizer, {})
    other = {"c": named["a"]}
    with pytest.raises(UserError, match="another model or adapter"):
        load_checkpoint(path, other, torch.optim.AdamW(other.values()))
