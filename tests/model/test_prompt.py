"""Prompt ids: bos first, eos last also after a cut, and the same ids whether prefix and text are joined or apart."""

import json
import shutil
from functools import cache

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


one_prompt = cache(prompt_of)  # for tests of many texts


def test_the_special_spelling_is_bge_en_icls(tiny_student):
    text = prompt_of(tiny_student).prefix_text("Find it.", SHOTS[:1])
    assert text == "<instruct>Find it.\n<query>why so\n<response>because\n\n<instruct>Find it.\n<query>"


def whole(prompt, text) -> list[int]:
    """Ids of a query with its prompt as one string, special tokens written out, as a served model tokenises it."""
    tokenizer = prompt.tokenizer
    head, tail = prompt.prefix_text("Find it.", SHOTS), prompt.tail_text + tokenizer.eos_token
    joined = (tokenizer.bos_token or "") + head + text.strip() + tail
    return tokenizer(joined, add_special_tokens=False)["input_ids"]


EVERY_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).filter(lambda t: t.strip())
HARD_TEXT = st.text("aW. ,:;!?'\"()-_0159\n\t\r é\u0301🙂日。", max_size=12)  # merges sit between these


@pytest.mark.parametrize("template", ["special", "plain"])
@given(text=EVERY_TEXT)
@settings(max_examples=50, deadline=None)
def test_prefix_and_query_apart_are_the_whole_text_tokenised_at_once(tiny_student, template, text):
    prompt = one_prompt(tiny_student, template)
    if len(joined := whole(prompt, text)) < 400:
        assert prompt.prefix_ids("Find it.", SHOTS) + prompt.query_ids([text])[0] == joined


@pytest.mark.parametrize("template", ["special", "plain"])
@given(text=st.one_of(HARD_TEXT, EVERY_TEXT))
@settings(max_examples=100, deadline=None)
def test_they_are_for_tokenizers_that_merge_punctuation_and_that_know_no_bos(decoder, template, text):
    prompt = one_prompt(decoder, template)
    assert prompt.prefix_ids("Find it.", SHOTS) + prompt.query_ids([text])[0] == whole(prompt, text)
    tokenizer = prompt.tokenizer
    document = (tokenizer.bos_token or "") + text.strip() + tokenizer.eos_token
    assert prompt.document_ids([text])[0] == tokenizer(document, add_special_tokens=False)["input_ids"]


def test_a_full_stop_and_the_tail_s_line_break_are_one_token_where_the_tokenizer_makes_them_one(decoder):
    prompt = prompt_of(decoder)
    (ids,) = prompt.query_ids(["The sky is blue."])
    merged = prompt.tokenizer.convert_ids_to_tokens(ids)[-3] == ".Ċ"
    assert merged == (decoder.name != "smollm2")
    assert prompt.tokenizer.decode(ids[:-2]) == "The sky is blue.\n"


def test_a_tokenizer_without_bos_puts_none(decoder):
    prompt = prompt_of(decoder)
    first = prompt.prefix_ids("Find it.")[0], prompt.document_ids(["a."])[0][0]
    instruct, a = prompt.tokenizer.convert_tokens_to_ids(["<instruct>", "a"])
    assert first == ((instruct, a) if decoder.name == "qwen3" else (prompt.bos, prompt.bos))


def test_text_and_tail_are_cut_together_and_the_tail_survives(decoder):
    long = "the sky." * 30
    (whole_ids,) = prompt_of(decoder).query_ids([long])
    for length in (5, len(whole_ids) - 4, len(whole_ids) - 3, len(whole_ids) - 2):
        prompt = prompt_of(decoder, query_tokens=length)
        (ids,) = prompt.query_ids([long])
        tokens = prompt.tokenizer.convert_ids_to_tokens(ids)
        assert tokens[-2:] == ["<response>", prompt.tokenizer.eos_token]
        assert len(ids) <= length + 3  # line break, <response> and eos
        assert (
            len(ids) < length + 3 or tokens[-3] == "Ċ"
        )  # sentence-transformers too writes the tail over a full row's end
        assert prompt.cut == (ids != whole_ids)
        if prompt.cut:
            assert ids[:-3] == whole_ids[:length]
            assert tokens[-3] == "Ċ"
    assert prompt.cut == 0


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


def broken(student, folder, change) -> None:
    """A copy of a student in `folder`; `change` edits its tokenizer.json and tokenizer_config.json, as dicts."""
    shutil.copytree(student, folder, dirs_exist_ok=True)
    files = [folder / "tokenizer.json", folder / "tokenizer_config.json"]
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    change(*contents)
    for file, content in zip(files, contents, strict=True):
        file.write_text(json.dumps(content), encoding="utf-8")


def test_a_tokenizer_without_eos_is_refused(tiny_student, tmp_path):
    broken(tiny_student, tmp_path, lambda _, settings: settings.pop("eos_token"))
    with pytest.raises(UserError, match=f"{tmp_path}: the tokenizer has no eos token.* set eos_token in its"):
        prompt_of(tmp_path)


def test_an_eos_that_a_served_model_would_not_find_is_refused(tiny_student, tmp_path):
    def whole_words_only(file, settings):
        settings.pop("eos_token")
        eos = {"id": 2, "content": "</s>", "single_word": True, "lstrip": False, "rstrip": False, "normalized": False}
        settings["eos_token"] = {"__type": "AddedToken", **eos, "special": True}
        file["added_tokens"] = [{**eos, "special": True}]

    broken(tiny_student, tmp_path, whole_words_only)
    with pytest.raises(UserError, match=f"{tmp_path}: 'word' has other token ids within .* in its tokenizer.json"):
        prompt_of(tmp_path)


def test_a_document_begins_as_it_does_behind_a_served_model_s_bos(tiny_student, tmp_path):
    def mark_the_first_word(file, _):  # as the tokenizer.json of Mistral v0.3
        file["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}

    broken(tiny_student, tmp_path, mark_the_first_word)
    prompt = prompt_of(tmp_path)
    served = prompt.tokenizer("<s>ab</s>", add_special_tokens=False)["input_ids"]
    assert prompt.document_ids(["ab"]) == [served]
    assert prompt.tokenizer("ab", add_special_tokens=False)["input_ids"] != served[1:-1]


def test_a_tokenizer_that_merges_the_plain_words_with_a_text_is_told_to_use_the_special_ones(tiny_student, tmp_path):
    def merge_colon_and_space(file, _):
        file["pre_tokenizer"]["use_regex"] = False
        file["model"]["vocab"][":Ġ"] = len(file["model"]["vocab"])
        file["model"]["merges"] = [[":", "Ġ"]]

    broken(tiny_student, tmp_path, merge_colon_and_space)
    with pytest.raises(UserError, match=f"{tmp_path}: the tokenizer merges 'Query:' .*; set prompt.template: special"):
        prompt_of(tmp_path, "plain")
    assert prompt_of(tmp_path, "special").query_ids(["word"])


MARKED = [
    "what does <query> mean in XML",
    "<query> holds the question and <response> the reply.",
    "how do I write <|im_end|> in a template",
    "</s><s> <instruct>",
    "<<query>> <|endoftext|",
]


@pytest.mark.parametrize("template", ["special", "plain"])
@given(
    text=st.one_of(
        st.sampled_from(MARKED), st.lists(st.sampled_from(["<", "query", ">", "|im_end|", "/s", "s"])).map("".join)
    )
)
@settings(max_examples=60, deadline=None)
def test_a_special_token_s_word_in_a_text_stays_text(decoder, template, text):
    prompt = one_prompt(decoder, template)
    special = set(prompt.tokenizer.all_special_ids) | set(prompt.tokenizer.convert_tokens_to_ids(prompt.special_words))
    (query,), (document,) = prompt.query_ids([text]), prompt.document_ids([text])
    outside = [x for x in (prompt.bos, prompt.eos) if x is not None]
    assert [x for x in document if x in special] == outside
    assert [x for x in query if x in special] == [x for x in prompt.query_ids(["word"])[0] if x in special]
    shot = prompt.prefix_ids(text, [Shot(text, text)])
    assert [x for x in shot if x in special] == [x for x in prompt.prefix_ids("x", [Shot("y", "z")]) if x in special]
    assert prompt.prefix_ids("Find it.", SHOTS) + query == whole(prompt, prompt.as_text(text))


def test_a_special_token_s_word_gets_a_space_and_other_words_none(tiny_student):
    prompt = prompt_of(tiny_student)
    assert prompt.as_text(" what does <query> mean? ") == "what does < query> mean?"
    assert prompt.as_text("</s> <b> <Query> <querying") == "< /s> <b> <Query> <querying"
    assert prompt_of(tiny_student, "plain").as_text("<query>") == "<query>"
