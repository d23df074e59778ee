"""Prompt ids: bos first, eos last also after a cut, and the same ids whether prefix and text are joined or apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import UserError
from components.config import PromptParams
from components.model.backbone import load_tokenizer
from components.model.prompt import SPECIAL_TOKENS, Prompt, Shot

SHOTS = [Shot("why so", "because"), Shot(" what is 12.5%? ", "an eighth")]


def prompt_of(student, template="special", **lengths) -> Prompt:
    params = PromptParams(template=template, **{"prefix_tokens": 4000, **lengths})
    return Prompt(load_tokenizer(student, params), params)


def test_the_special_spelling_is_bge_en_icls(tiny_student):
    text = prompt_of(tiny_student).prefix_text("Find it.", SHOTS[:1])
    assert text == "<instruct>Find it.\n<query>why so\n<response>because\n\n<instruct>Find it.\n<query>"


@pytest.mark.parametrize("template", ["special", "plain"])
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).filter(lambda t: t.strip()))
@settings(max_examples=50, deadline=None)
def test_prefix_and_query_apart_are_the_whole_text_tokenised_at_once(tiny_student, template, text):
    prompt = prompt_of(tiny_student, template)
    whole = prompt.prefix_text("Find it.", SHOTS) + text.strip() + prompt.tail_text
    joined = [prompt.bos, *prompt.tokenizer(whole, add_special_tokens=False)["input_ids"], prompt.eos]
    if len(joined) < 400:
        assert prompt.prefix_ids("Find it.", SHOTS) + prompt.query_ids([text])[0] == joined


@pytest.mark.parametrize("template", ["special", "plain"])
def test_a_long_query_is_cut_before_its_tail_and_eos(tiny_student, template):
    prompt = prompt_of(tiny_student, template, query_tokens=5)
    short, cut = prompt.query_ids(["abc", "abcdefghij" * 10])
    tail = short[-len(prompt._tail) - 1 :]
    assert cut[-len(tail) :] == tail
    assert cut[-1] == prompt.eos
    assert len(cut) == 5 + len(tail)


def test_a_long_document_keeps_bos_and_eos(tiny_student):
    prompt = prompt_of(tiny_student, document_tokens=8)
    ids = prompt.document_ids(["a long document"])[0]
    assert (ids[0], ids[-1], len(ids)) == (prompt.bos, prompt.eos, 8)


def test_special_tokens_are_single_ids(tiny_student):
    prompt = prompt_of(tiny_student)
    ids = prompt.prefix_ids("x")
    for token in SPECIAL_TOKENS[:2]:
        assert ids.count(prompt.tokenizer.convert_tokens_to_ids(token)) == 1


def test_a_prefix_over_the_budget_is_refused(tiny_student):
    with pytest.raises(UserError, match="prefix_tokens"):
        prompt_of(tiny_student, prefix_tokens=20).prefix_ids("Find it.", SHOTS)


def test_an_example_is_cut_to_its_budget(tiny_student):
    prompt = prompt_of(tiny_student, example_tokens=4)
    assert prompt.clip("abcdefgh") == "abcd"
    assert prompt.clip(" ab ") == "ab"
