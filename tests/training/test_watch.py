"""Vectors that tell nothing apart and losses of 0 are noticed in the first steps."""

import pytest
import torch

from components.training.watch import FirstSteps, measure_spread


def test_spread_of_equal_and_of_orthogonal_vectors() -> None:
    same = torch.nn.functional.normalize(torch.ones(6, 16), dim=-1)
    assert measure_spread(same @ same.T) == pytest.approx(
        {"train/mean_cosine": 1.0, "train/effective_rank": 1.0}, abs=1e-3
    )
    apart = measure_spread(torch.eye(6))
    assert apart == pytest.approx({"train/mean_cosine": 0.0, "train/effective_rank": 6.0})
    assert measure_spread(torch.eye(1))["train/mean_cosine"] == 0.0


def test_a_loss_of_zero_is_told_once_a_task(caplog: pytest.LogCaptureFixture) -> None:
    watch = FirstSteps()
    for task, loss in (("a", 0.0), ("b", 1.0), ("a", 0.0), ("c", 0.0)):
        watch.see(task, loss, 0.9)
    assert [record.args for record in caplog.records] == [("a",), ("c",)]


def test_constant_vectors_are_told_after_some_steps(caplog: pytest.LogCaptureFixture) -> None:
    for cosines in ([0.9995] * 12, [0.9995] * 9 + [0.99, 0.9995]):
        watch = FirstSteps()
        for cosine in cosines:
            watch.see("a", 1.0, cosine)
    assert [record.getMessage() for record in caplog.records] == [
        "train: the vectors of all texts are nearly the same (mean cosine 0.9995 after 10 steps); lower "
        "train.learning_rate, or check the student's weights"
    ]


@pytest.mark.parametrize(
    ("cosines", "told"),
    [
        ([0.995] * 10 + [0.996] * 10 + [0.997] * 10, True),  # one task of six labels, at a high rate
        ([0.997, 0.995, 0.98, 0.95, 0.9] + [0.85] * 25, False),
        ([0.995] * 30, False),
        ([0.75] * 10 + [0.82] * 20, False),  # going on from a trained adapter
    ],
)
def test_vectors_that_move_together_are_told(
    cosines: list[float], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    watch = FirstSteps()
    for cosine in cosines:
        watch.see("a", 1.0, cosine)
    assert ["move together" in record.getMessage() for record in caplog.records] == [True] * told
