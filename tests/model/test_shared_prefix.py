"""Queries behind a shared prefix: sentence-transformers' own vectors at the cost of one prefix a row."""

import numpy as np
import pytest

from components.base.errors import UserError
from components.model.shared_prefix import encode_task


def test_a_task_s_shots_go_through_the_model_once_a_row(exported):
    from sentence_transformers import SentenceTransformer

    _, folder, _ = exported
    model = SentenceTransformer(str(folder), device="cpu")
    seen: list[int] = []
    hook = model[0].model.embed_tokens.register_forward_hook(lambda _, ids, __: seen.append(ids[0].numel()))
    texts = [f"question number {i}" for i in range(20)]
    plain = model.encode_query(texts, prompt_name="sky")
    cost_plain = sum(seen)
    seen.clear()
    shared = encode_task(model, [*texts, texts[3]], "sky")
    hook.remove()
    np.testing.assert_allclose(shared[:20], plain, atol=1e-5)
    np.testing.assert_array_equal(shared[20], shared[3])
    prompt = len(model.tokenizer(model.prompts["sky"])["input_ids"])
    assert cost_plain - sum(seen) >= 18 * prompt  # 20 prefixes became one
    np.testing.assert_allclose(model.encode_query(texts, prompt_name="sky"), plain, atol=1e-6)  # left as it was


@pytest.mark.slow
def test_texts_are_cut_as_sentence_transformers_cuts_them(exported):
    from sentence_transformers import SentenceTransformer

    _, folder, _ = exported
    model = SentenceTransformer(str(folder), device="cpu")
    texts = ["long " * 400, "one", "longer " * 300]
    np.testing.assert_allclose(
        encode_task(model, texts, "sky"), model.encode_query(texts, prompt_name="sky"), atol=1e-5
    )
    np.testing.assert_allclose(encode_task(model, texts[1:2], "sky"), encode_task(model, texts, "sky")[1:2], atol=1e-5)


def test_an_unknown_task_is_told_with_those_there_are(exported):
    from sentence_transformers import SentenceTransformer

    _, folder, _ = exported
    with pytest.raises(UserError, match="'sea'; must be one of document, query, sky"):
        encode_task(SentenceTransformer(str(folder), device="cpu"), ["x"], "sea")
