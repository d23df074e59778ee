"""The loop: it learns, goes on bit for bit after a kill, and stops for a reason it names."""

import signal
import time

import pytest
import torch

from components.base.errors import UserError
from components.training.checkpoint import list_checkpoints
from tests.training.killed_run import train_until_killed
from tests.warm import start_warm


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.named.values()])


@pytest.mark.slow
def test_it_learns(make_trainer):
    contrastive = {"train.temperature": 0.1, "train.distillation": {"weight": 0.0}}
    trainer = make_trainer(**{"train.steps": 60, "train.learning_rate": 0.002, **contrastive})
    curve = trainer.fit()
    assert sum(row["loss"] for row in curve[-8:]) < 0.5 * sum(row["loss"] for row in curve[:8])


def test_only_adapter_and_special_tokens_are_trained(make_trainer):
    trainer = make_trainer()
    assert all("lora_" in name or "token_adapter" in name for name in trainer.named)
    projections = {name.split(".lora_A")[0].split(".")[-1] for name in trainer.named if "lora_A" in name}
    assert projections == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    before = weights(trainer).clone()
    trainer.fit()
    assert not torch.equal(weights(trainer), before)


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_kill_minus_nine_changes_no_bit(make_trainer, training_tables, tiny_student, tmp_path, killed_at):
    shots = {"train.shots": {"max": 2, "share": 2}, "train.lora": {"rank": 4, "alpha": 8, "dropout": 0.2}}
    whole = make_trainer(work=tmp_path / "whole", **shots)
    expected = whole.fit()
    work = tmp_path / "killed"
    run = start_warm(train_until_killed, training_tables, tiny_student, work, killed_at)
    run.join(300)
    assert run.exitcode == -signal.SIGKILL
    assert [path.name for path in list_checkpoints(work / "checkpoints")][-1:] == (
        [f"step-{killed_at // 2 * 2:08d}"] if killed_at >= 2 else []
    )
    resumed = make_trainer(work=work, **shots)
    assert resumed.fit() == expected
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_and_names_the_batch(make_trainer, tmp_path, bad):
    trainer = make_trainer(work=tmp_path)
    real = trainer._loss

    def broken(batch, numbers, dense):
        inner = real(batch, numbers, dense)
        return lambda q, d: inner(q, d) * (float(bad) if batch.step == 3 else 1)

    trainer._loss = broken
    name = trainer.batches[3].task.name
    with pytest.raises(UserError, match=f"step 3: the loss is {bad} on a batch of task {name}"):
        trainer.fit()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000002"]


@pytest.mark.slow
def test_a_checkpoint_of_other_parameters_is_refused(make_trainer, tmp_path):
    make_trainer(work=tmp_path).fit()
    with pytest.raises(UserError, match="other parameters"):
        make_trainer(work=tmp_path, **{"train.learning_rate": 0.5}).fit()


def with_dev_scores(trainer, scores) -> list[torch.Tensor]:
    """Let dev checks return these; the weights after each step, as they come."""
    after, given = [], iter(scores)

    def check(step: int) -> float:
        after.append(weights(trainer).clone())
        return next(given)

    trainer._check_dev = check
    return after


EVERY_STEP = {"every": 1, "queries": 4, "documents": 8}


def test_early_stop_counts_checks_without_a_better_score(make_trainer):
    trainer = make_trainer(**{"train.steps": 20, "train.dev": {**EVERY_STEP, "patience": 2}})
    with_dev_scores(trainer, [0.1, 0.5, 0.4, 0.5, 0.9])
    assert len(trainer.fit()) == 4


@pytest.mark.slow
def test_the_weights_of_the_best_dev_check_are_kept(make_trainer, tmp_path):
    trainer = make_trainer(**{"train.steps": 5, "train.dev": EVERY_STEP})
    after = with_dev_scores(trainer, [0.1, 0.9, 0.5, 0.4, 0.9])
    trainer.fit()
    assert torch.equal(weights(trainer), after[1])
    assert not torch.equal(after[1], after[-1])
    assert [file.name for file in (tmp_path / "checkpoints").glob("best-*")] == ["best-00000001.safetensors"]
    last = make_trainer(work=tmp_path / "last", **{"train.steps": 3, "train.dev": EVERY_STEP})
    after = with_dev_scores(last, [0.1, 0.2, 0.3])
    last.fit()
    assert torch.equal(weights(last), after[2])


@pytest.mark.slow
def test_a_resumed_run_still_has_the_best_of_its_checkpoint(make_trainer, tmp_path):
    changes = {"train.steps": 6, "train.checkpoint_every": 2, "train.dev": EVERY_STEP}
    killed = make_trainer(**changes)
    after = with_dev_scores(killed, [0.5, 0.2, 0.6])
    with pytest.raises(StopIteration):
        killed.fit()  # in the fourth step, after a checkpoint of two
    resumed = make_trainer(**changes)
    with_dev_scores(resumed, [0.1, 0.2, 0.3, 0.4])
    resumed.fit()
    assert torch.equal(weights(resumed), after[0])


@pytest.mark.slow
def test_dev_checks_are_retrieval_over_dev_queries(make_trainer):
    dev = {"every": 3, "queries": 4, "documents": 12}
    seen: list[tuple[int, float]] = []
    trainer = make_trainer(
        log=lambda metrics, step: seen.extend((step, v) for k, v in metrics.items() if k == "dev/ndcg_at_10"),
        **{"train.dev": dev},
    )
    trainer.fit()
    assert [step for step, _ in seen] == [2, 5]
    assert all(0 < score <= 1 for _, score in seen)


def test_live_metrics_tell_speed_and_memory(make_trainer):
    seen: dict[str, float] = {}
    started = time.monotonic()
    make_trainer(log=lambda metrics, step: seen.update(metrics), **{"train.steps": 2}).fit()
    assert seen["speed/tokens_per_second"] * (time.monotonic() - started) > 0
    assert seen["speed/useful_tokens_per_second"] > seen["speed/tokens_per_second"]
    assert 0 < seen["speed/mfu"] < 1.5
    assert seen["memory/peak_gib"] > 0.05
    assert seen["progress/eta_seconds"] == 0  # no step is left
    assert {"train/loss", "train/accuracy", "train/margin", "train/gradient_norm", "train/learning_rate"} <= set(seen)
    assert seen["train/mean_cosine"] < 1 < seen["train/effective_rank"]
    assert seen["speed/wait_seconds"] < seen["speed/step_seconds"]


@pytest.mark.slow
def test_cut_texts_rows_over_the_budget_and_groups_without_negatives_are_logged(make_trainer):
    def told(**changes) -> dict[str, float]:
        seen: dict[str, float] = {}
        make_trainer(log=lambda metrics, step: seen.update(metrics), **{"train.steps": 2, **changes}).fit()
        return {key: value for key, value in seen.items() if key.startswith("data/")}

    keys = ("data/texts_cut", "data/rows_over_budget", "data/groups_without_negatives")
    assert told() == dict.fromkeys([*keys, "data/queries_with_masked_copies", "data/shots_left_out"], 0.0)
    in_batch = {"train.objectives": {"classification": {"in_batch_negatives": True}}}
    bent = told(**{"prompt.query_tokens": 4, "train.row_tokens": 30, "train.negatives": 0, **in_batch})
    assert all(bent[key] > 0 for key in keys), bent


def test_shots_that_do_not_fit_are_counted_and_told(make_trainer, caplog):
    seen: dict[str, float] = {}
    shots = {"train.steps": 2, "train.shots": {"max": 3, "share": 2}, "prompt.prefix_tokens": 30}
    trainer = make_trainer(log=lambda metrics, step: seen.update(metrics), **shots)
    drawn = [len(one) for step in range(2) for one in trainer.batches[step].shots]
    trainer.fit()
    assert 0 < seen["data/shots_left_out"] <= sum(drawn)
    (line,) = [record.getMessage() for record in caplog.records if "shots were left out" in record.getMessage()]
    assert line.startswith(f"train: {seen['data/shots_left_out']:.0f} of {sum(drawn)} shots were left out: the prefix")


def test_training_cuts_shorter_than_use(make_trainer):
    lengths = {"train.query_tokens": 5, "train.document_tokens": 9}
    seen: dict[str, float] = {}
    trainer = make_trainer(log=lambda metrics, step: seen.update(metrics), **{"train.steps": 2, **lengths})
    trainer.fit()
    assert seen["data/texts_cut"] > 0
    assert max(len(ids) for step in range(2) for ids in trainer.tokens.of(trainer.batches[step]).documents) == 9
    text = ["a passage that is longer than the nine tokens of training"]
    assert len(trainer.prompt.document_ids(text)[0]) > 9  # dev checks, selection, evaluation, export


def test_matryoshka_is_the_mean_loss_of_the_leading_parts(make_trainer):
    nested, plain = make_trainer(**{"train.matryoshka": [8, 16]}), make_trainer()
    batch = nested.batches[0]
    draw = torch.Generator().manual_seed(0)
    queries, documents = (
        torch.randn(len(texts), 32, generator=draw) for texts in (batch.query_texts, batch.document_texts)
    )

    def leading(vectors: torch.Tensor, width: int) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors[:, :width], dim=-1)

    expected = [plain._loss(batch, {})(leading(queries, w), leading(documents, w)) for w in (8, 16, 32)]
    found = nested._loss(batch, {})(leading(queries, 32), leading(documents, 32))
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert len({round(float(loss), 4) for loss in expected}) == 3
