"""GradCache and several processes give the loss and gradients of one pass in one process."""

import pytest
import torch
from safetensors.torch import load_file

from components.model.backbone import training_precision
from components.training.rows import pack_rows
from components.training.world import World
from tests.models import randomise_adapter
from tests.training.two_processes import WAYS, train, train_every_way
from tests.warm import meeting_store, start_warm

TWO_STEPS = {
    "train.temperature": 0.02,
    "train.row_tokens": 96,
    "train.shots": {"max": 2, "share": 2},
    "train.lora": {"rank": 4, "alpha": 8, "dropout": 0.3},
}


def gradients(trainer, rows=None, step=1) -> tuple[float, torch.Tensor]:
    batch = trainer.batches[step]
    if rows is None:
        rows = trainer._prepare(step).rows
        assert len(rows) > 3
    trainer.model.train()
    torch.manual_seed(5)
    randomise_adapter(trainer.named.values())  # so that A has a gradient too
    loss = trainer.step.run(step, rows, len(batch.query_texts), trainer._loss(batch, {}))
    return loss, torch.cat([p.grad.flatten() for p in trainer.named.values()])


@pytest.mark.slow
def test_gradcache_equals_one_pass_at_the_real_temperature(make_trainer):
    loss, direct = gradients(make_trainer(**TWO_STEPS))
    cached_loss, cached = gradients(make_trainer(**TWO_STEPS, **{"train.gradcache": True}))
    assert cached_loss == pytest.approx(loss, rel=1e-6)
    assert (cached - direct).norm() / direct.norm() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_of_several_prefixes_give_the_loss_and_gradients_of_rows_of_one(make_trainer, precision):
    changes = {
        **TWO_STEPS,
        "train.row_tokens": 250,
        "train.precision": precision,
        "train.lora": {"rank": 4, "alpha": 8},
    }
    # in bf16 the passes of GradCache round unlike each other on a CPU: one without a graph attends in another way
    caches = (False, precision == "fp32")
    first, second = (make_trainer(**changes, **{"train.gradcache": cached}) for cached in caches)
    step = 2  # its batch has shots that fit a row together
    one = first._prepare(step).rows
    several = pack_rows(first._prepare(step).tokens, 250, first.config.encoder, World(), join=True)
    assert len(several) < len(one)
    assert any(sum(group.prefix_length > 0 for group in placed.row.groups) > 1 for placed in several)
    assert sum(placed.tokens for placed in several) == sum(placed.tokens for placed in one)
    assert sum(placed.repeated for placed in several) == sum(placed.repeated for placed in one) > 0
    loss, expected = gradients(first, one, step)
    joined_loss, joined = gradients(second, several, step)
    assert joined_loss == pytest.approx(loss, rel=1e-6 if precision == "fp32" else 0.02)
    assert (joined - expected).norm() / expected.norm() < (1e-5 if precision == "fp32" else 0.05)


@pytest.mark.slow
def test_the_temperature_reaches_gradcache(make_trainer):
    sharp, _ = gradients(make_trainer(**TWO_STEPS, **{"train.gradcache": True}))
    flat, _ = gradients(make_trainer(**{**TWO_STEPS, "train.temperature": 1.0}, **{"train.gradcache": True}))
    assert abs(sharp - flat) > 0.01


@pytest.mark.slow
def test_gradient_checkpointing_changes_nothing(make_trainer):
    _, plain = gradients(make_trainer(**TWO_STEPS))
    _, recomputed = gradients(make_trainer(**TWO_STEPS, **{"train.gradient_checkpointing": True}))
    assert (recomputed - plain).norm() / plain.norm() < 1e-5


@pytest.mark.slow
def test_a_base_in_bf16_gives_nearly_the_gradients_of_fp32_to_an_adapter_in_fp32(make_trainer):
    loss, exact = gradients(make_trainer(**TWO_STEPS))
    half_loss, half = gradients(trainer := make_trainer(**TWO_STEPS, **{"train.precision": "bf16"}))
    assert {p.dtype for p in trainer.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert {p.dtype for p in trainer.named.values()} == {torch.float32}
    assert half_loss == pytest.approx(loss, rel=0.05)
    assert torch.cosine_similarity(half, exact, dim=0) > 0.95


def test_auto_takes_bf16_where_the_processor_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": True, "amx_bf16": has})
        assert training_precision("auto", cpu) == expected
        assert training_precision("fp32", cpu) == "fp32"


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [{"pooling": "mean"}, {"pooling": "mean", "attention": "bidirectional"}])
def test_without_a_shared_prefix_every_query_carries_its_own(make_trainer, encoder):
    trainer = make_trainer(**TWO_STEPS, **{f"encoder.{key}": value for key, value in encoder.items()})
    rows = trainer._prepare(1).rows
    assert all(placed.row.prefix_length == 0 for placed in rows)
    loss, found = gradients(trainer)
    assert loss > 0
    assert found.norm() > 0


@pytest.fixture(scope="module")
def trained(training_tables, tiny_student, tmp_path_factory):
    """The folder of `alone.pt`, made in this process, and of what two others made in every way."""
    folder = tmp_path_factory.mktemp("two_processes")
    store = meeting_store()
    given = (training_tables, tiny_student, folder)
    running = [start_warm(train_every_way, *given, rank, store.port) for rank in range(2)]
    train(training_tables, tiny_student, folder / "alone.pt", {})
    for process in running:
        process.join(300)
        assert process.exitcode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_equal_one(trained, way):
    one, two = (torch.load(trained / f"{name}.pt", weights_only=True) for name in ("alone", way))
    assert one["processes"] == 1
    assert two["processes"] == 2
    assert two["held"] < 0.8 if "fsdp2" in way else two["held"] == 1  # the adapter is whole in both
    torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-5, atol=1e-6)
    assert two["dev"] == pytest.approx(one["dev"])
    for name, weight in one["weights"].items():  # by norm: Adam turns the rounding of a gradient near 0 into a step
        assert (two["weights"][name] - weight).norm() <= 1e-3 * weight.norm(), name
    adapters = [load_file(trained / f"{name}.adapter" / "adapter_model.safetensors") for name in ("alone", way)]
    assert {key: value.shape for key, value in adapters[0].items()} == {k: v.shape for k, v in adapters[1].items()}
