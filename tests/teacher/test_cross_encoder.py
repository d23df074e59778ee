"""A cross-encoder: the library's own scores, independent of batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoConfig, AutoModelForSequenceClassification

from components.base.errors import UserError
from components.model.batches import token_batches
from components.model.locate import locate_model
from components.teacher.cross_encoder import CrossEncoderTeacher, _precision, compute_first_token_only
from tests.teacher.conftest import make_reranker
from tests.teacher.pairs import PAIRS, check_independence


def test_cross_encoder_gives_the_librarys_logits(models: Path) -> None:
    teacher = CrossEncoderTeacher.load(models, "reranker", max_tokens=128, token_budget=512, dtype=torch.float32)
    theirs = CrossEncoder(str(locate_model(models / "reranker")), device="cpu", local_files_only=True)
    expected = theirs.predict(PAIRS, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    np.testing.assert_allclose(teacher.score(PAIRS), expected, atol=1e-5)
    fast = CrossEncoderTeacher.load(models, "reranker", max_tokens=128, token_budget=512)
    np.testing.assert_allclose(fast.score(PAIRS), expected, atol=1e-2)  # bf16 has 8 bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("token_budget", [200, 400, 512])
def test_a_pairs_score_does_not_depend_on_its_neighbours(models: Path, token_budget: int, dtype: torch.dtype) -> None:
    teacher = CrossEncoderTeacher.load(models, "reranker", 128, token_budget, dtype)
    check_independence(teacher)


def test_a_classifier_of_several_classes_is_refused(tmp_path: Path) -> None:
    make_reranker(tmp_path / "three", labels=3)
    with pytest.raises(UserError, match="outputs 3 logits"):
        CrossEncoderTeacher.load(tmp_path, "three", max_tokens=64, token_budget=512)


def test_batches_of_a_gpu_hold_neighbours_and_no_empty_row(models: Path) -> None:
    lengths = np.random.default_rng(0).integers(60, 140, 4096).tolist()
    batches = list(token_batches(lengths, budget=65_536, fixed=False))
    assert sorted(i for members, _ in batches for i in members) == list(range(4096))
    assert all(len(members) * padded <= 65_536 for members, padded in batches)
    assert sum(len(members) * padded for members, padded in batches) < 1.15 * sum(lengths)
    teacher = CrossEncoderTeacher.load(models, "reranker", 128, 400, torch.float32)
    expected, shapes = teacher.score(PAIRS), []
    teacher._on_cpu = teacher._batches.fixed = False  # as on a GPU
    teacher.model.model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(given["input_ids"].shape), with_kwargs=True
    )
    np.testing.assert_allclose(teacher.score(PAIRS), expected, atol=1e-5)
    assert sum(rows for rows, _ in shapes) == len(PAIRS)


def test_a_gpu_that_is_too_small_for_a_batch_gets_smaller_ones(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = CrossEncoderTeacher.load(models, "reranker", 128, 400, torch.float32)
    expected, forward, computed = teacher.score(PAIRS), teacher._forward, []

    def small(encoded: Any, members: list[int], length: int) -> np.ndarray:
        if len(members) * length > 150:
            raise torch.OutOfMemoryError("CUDA out of memory")
        computed.extend(members)
        return forward(encoded, members, length)

    teacher._on_cpu = teacher._batches.fixed = False  # as on a GPU
    monkeypatch.setattr(teacher, "_forward", small)
    np.testing.assert_allclose(teacher.score(PAIRS), expected, atol=1e-5)
    assert sorted(computed) == list(range(len(PAIRS)))  # each pair once
    assert 75 <= teacher._batches.budget <= 150


def test_a_card_gets_every_batch_before_a_result_is_read(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = CrossEncoderTeacher.load(models, "reranker", 128, 400, torch.float32)
    forward, read, seen = teacher._forward, torch.Tensor.cpu, []
    monkeypatch.setattr(teacher, "_forward", lambda *given: seen.append("batch") or forward(*given))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: seen.append("read") or read(tensor))
    teacher.score(PAIRS)
    number = len(seen) // 2
    assert number > 2
    assert seen == ["batch"] * number + ["read"] * number


def test_a_card_that_only_emulates_bf16_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, has=has: has or including_emulation
        )
        assert _precision(torch.device("cuda", 0)) == expected


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "electra"])
def test_the_last_layer_computes_the_first_token_only_and_the_logits_are_the_same(kind: str) -> None:
    config = AutoConfig.for_model(
        kind,
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(5, 50, (4, 8))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    widths: list[int] = []
    last = model.base_model.encoder.layer[-1]
    last.intermediate.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=mask).logits
        compute_first_token_only(model)
        after = model(input_ids=ids, attention_mask=mask).logits
    assert widths == [8, 1]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
