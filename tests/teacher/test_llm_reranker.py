"""An LLM as reranker: its score is the model's own, independent of batches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.teacher.llm_reranker import PREFIX, SUFFIX, LlmTeacher
from tests.models import make_tiny_student
from tests.teacher.pairs import check_independence


@pytest.mark.slow
def test_llm_score_is_yes_minus_no_at_the_last_token(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralForCausalLM

    folder = make_tiny_student(tmp_path / "bare")
    torch.manual_seed(0)
    config = AutoModelForCausalLM.from_pretrained(folder).config
    model = MistralForCausalLM(config).eval()
    model.save_pretrained(folder)
    teacher = LlmTeacher.load(tmp_path, "bare", "find it", max_tokens=600, token_budget=2048)
    query, document = "where is it", "it is here"
    text = f"{PREFIX}<Instruct>: find it\n<Query>: {query}\n<Document>: {document}{SUFFIX}"
    ids = torch.tensor([teacher.tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        logits = model(ids).logits[0, -1]
    got = teacher.score([(query, document), ("other", "x" * 5000)])
    assert got[0] == pytest.approx(float(logits[teacher.yes] - logits[teacher.no]), abs=1e-5)
    assert np.isfinite(got).all()
    assert len(teacher._ids("other", "x" * 5000)) == 600
    check_independence(teacher)
