"""The export loads in plain sentence-transformers and plain transformers, with the trainer's vectors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.config import parse_config
from components.contracts.shots import TaskPrompt
from components.model.backbone import load_tokenizer
from components.model.encoder import Encoder
from components.model.export import _old_rotation, export_model, set_prompts
from components.model.prompt import PROBES, Prompt
from components.model.shared_prefix import encode_task
from components.tracking.embedder import Embedder
from components.training.train import add_adapter, save_adapter
from tests.model.exports import SHOTS, TASK, export_of
from tests.models import randomise_adapter
from tests.samples import small_parameters
from tests.serving_page import documented

QUERIES = ["is the sky blue", " what?? \n", 'Größe 42 "quoted"']


MARKED = ["what does <query> mean", "<|im_end|>", "<<response>> </s> <|begin_of_text|>x"]  # special tokens' words


DOCUMENTS = ["The sky is blue because of scattering, and so is the sea. " * 6, "short"]


def test_the_export_holds_the_weights_once(tiny_student, tmp_path, monkeypatch):
    from sentence_transformers.sentence_transformer.modules import Transformer

    devices = []
    load = Transformer._load_model

    def watched(self, *args, **how):
        model = load(self, *args, **how)
        devices.append({parameter.device.type for parameter in model.parameters()})
        return model

    config = parse_config(small_parameters(), "test")
    model = add_adapter(tiny_student, load_tokenizer(tiny_student, config.prompt), config)
    save_adapter(model, tmp_path / "adapter")
    monkeypatch.setattr(Transformer, "_load_model", watched)
    export_model(tiny_student, tmp_path / "adapter", tmp_path / "export", config, [TASK])
    assert devices == [{"meta"}]


def test_who_loads_the_export_keeps_no_cache_of_keys_and_values(exported):
    _, folder, _ = exported
    assert json.loads((folder / "config.json").read_text())["use_cache"] is False


@pytest.mark.slow
def test_sentence_transformers_gives_the_same_vectors(exported):
    from sentence_transformers import SentenceTransformer

    encoder, folder, _ = exported
    model = SentenceTransformer(str(folder), device="cpu")
    texts = [*QUERIES, *MARKED]
    queries = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(model.encode_query(texts, prompt_name="sky"), queries, atol=1e-5)
    np.testing.assert_allclose(model.encode_document(DOCUMENTS), encoder.encode_documents(DOCUMENTS), atol=1e-5)


def test_the_export_of_a_base_held_in_bf16_gives_nearly_the_vectors_of_training(tiny_student, tmp_path):
    from sentence_transformers import SentenceTransformer

    config = parse_config(small_parameters(**{"train.precision": "bf16"}), "test")
    tokenizer = load_tokenizer(tiny_student, config.prompt)
    model = add_adapter(tiny_student, tokenizer, config).eval()
    randomise_adapter(model.parameters())
    save_adapter(model, tmp_path / "adapter")
    export_model(tiny_student, tmp_path / "adapter", tmp_path / "export", config, [TASK])
    encoder = Encoder(model, Prompt(tokenizer, config.prompt), config.encoder, identity="")
    trained = encoder.encode_queries(QUERIES, TASK.instruction)
    exported = SentenceTransformer(str(tmp_path / "export"), device="cpu").encode_query(QUERIES, prompt_name="sky")
    assert (trained * exported).sum(1).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("template", ["special", "plain"])
def test_decoders_of_other_families_are_served_as_they_are_trained(decoder, template, tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder, folder, config = export_of(decoder, template, tmp_path)
    model = SentenceTransformer(str(folder), device="cpu")
    texts = ["The sky is blue.", *QUERIES, *PROBES, *MARKED]
    features = model.preprocess(texts, prompt=model.prompts["sky"], task="query")
    prefix = encoder.prompt.prefix_ids(TASK.instruction, SHOTS["sky"])
    assert real_ids(features) == [prefix + ids for ids in encoder.prompt.query_ids(texts)]
    assert real_ids(model.preprocess(texts, task="document")) == encoder.prompt.document_ids(texts)
    queries = encoder.encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(model.encode_query(texts, prompt_name="sky"), queries, atol=1e-5)
    np.testing.assert_allclose(encode_task(model, texts, "sky"), queries, atol=1e-5)
    np.testing.assert_allclose(model.encode_document(texts), encoder.encode_documents(texts), atol=1e-5)
    for block in ("transformers", "plain tokenization"):
        safe = [text for text in texts if block == "transformers" or text not in MARKED]
        by_hand = documented(block, folder=str(folder), texts=safe, task="sky")["queries"]
        own = [queries[place] for place, text in enumerate(texts) if text in safe]
        np.testing.assert_allclose(np.asarray(by_hand), own, atol=1e-5)
    again = Encoder.load(folder, config.prompt, config.encoder).encode_queries(texts, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(again, queries, atol=1e-5)
    assert np.abs(queries[0] - queries[1]).max() > 0.01  # weights that tell texts apart


def real_ids(features) -> list[list[int]]:
    pairs = zip(features["input_ids"], features["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def test_plain_transformers_gives_the_same_vectors(exported):
    from transformers import AutoModel, AutoTokenizer

    encoder, folder, _ = exported
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    prompt = encoder.prompt.prefix_text(TASK.instruction, SHOTS["sky"])
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": QUERIES[0]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        vector = torch.nn.functional.normalize(model(ids).last_hidden_state[0, -1], dim=0)
    expected = encoder.encode_queries(QUERIES[:1], TASK.instruction, SHOTS["sky"])[0]
    np.testing.assert_allclose(vector.numpy(), expected, atol=1e-5)


def test_our_encoder_reads_the_export_too(exported):
    encoder, folder, config = exported
    vectors = Encoder.load(folder, config.prompt, config.encoder).encode_documents(DOCUMENTS)
    np.testing.assert_allclose(vectors, encoder.encode_documents(DOCUMENTS), atol=1e-6)


def test_the_export_holds_no_pickle_and_no_path_of_this_machine(exported):
    _, folder, _ = exported
    for file in folder.rglob("*"):
        assert file.suffix in {"", ".json", ".safetensors", ".jinja", ".txt", ".model"}, file
        if file.suffix == ".json":
            assert str(folder.parent) not in file.read_text(encoding="utf-8"), file


def texts_around(limit: int) -> list[str]:
    """A character is a token of the tiny student: texts of 1 to `limit` + 60 tokens, most of them near the limit."""
    words = "the sea is blue, " * 200
    return [words[:length].strip() for length in (1, 40, *range(limit - 6, limit + 7), limit + 60)]


@pytest.mark.slow
@pytest.mark.parametrize("shots", [{}, SHOTS], ids=["no shots", "a shot"])
def test_every_client_cuts_a_long_text_as_the_trained_model_does(exported, shots):
    from sentence_transformers import SentenceTransformer

    encoder, folder, config = exported
    own = shots.get("sky", ())
    set_prompts(folder, encoder.prompt, {"sky": TaskPrompt(TASK.instruction, False, own)})
    prefix = encoder.prompt.prefix_ids(TASK.instruction, own)
    whole = config.prompt.prefix_tokens + config.prompt.query_tokens
    texts = texts_around(whole - len(prefix) - len(encoder.prompt.query_ids([""])[0]))
    expected = encoder.encode_queries(texts, TASK.instruction, own)
    assert encoder.prompt.cut >= 5
    model = SentenceTransformer(str(folder), device="cpu")
    features = model.preprocess(texts, prompt=model.prompts["sky"], task="query")
    assert max(len(ids) for ids in real_ids(features)) == whole
    assert real_ids(features) == [prefix + ids for ids in encoder.prompt.query_ids(texts, len(prefix))]
    np.testing.assert_allclose(model.encode_query(texts, prompt_name="sky"), expected, atol=1e-5)
    np.testing.assert_allclose(encode_task(model, texts, "sky"), expected, atol=1e-5)
    registered = Embedder()
    registered.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    np.testing.assert_allclose(registered.predict(None, texts, {"side": "query", "task": "sky"}), expected, atol=1e-5)
    by_hand = documented("transformers", folder=str(folder), texts=texts, task="sky")["queries"]
    np.testing.assert_allclose(np.asarray(by_hand), expected, atol=1e-5)
    documents = texts_around(config.prompt.document_tokens - 2)
    by_hand = documented("transformers", folder=str(folder), texts=documents, task="sky")["documents"]
    np.testing.assert_allclose(np.asarray(by_hand), encoder.encode_documents(documents), atol=1e-5)
    np.testing.assert_allclose(model.encode_document(documents), encoder.encode_documents(documents), atol=1e-5)
    np.testing.assert_allclose(registered.predict(None, documents), encoder.encode_documents(documents), atol=1e-5)


@pytest.mark.slow
def test_a_long_document_of_a_symmetric_task_is_cut_as_the_trained_model_does(exported):
    from sentence_transformers import SentenceTransformer

    encoder, folder, config = exported
    set_prompts(folder, encoder.prompt, {"sky": TaskPrompt(TASK.instruction, True, SHOTS["sky"])})
    whole = config.prompt.prefix_tokens + config.prompt.query_tokens
    texts = texts_around(whole - len(encoder.prompt.prefix_ids(TASK.instruction)) - 3)
    expected = encoder.encode_queries(texts, TASK.instruction)
    assert encoder.prompt.cut >= 5
    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(model.encode_query(texts, prompt_name="sky:document"), expected, atol=1e-5)


def test_a_document_is_right_however_it_is_tokenised(exported):
    """What TEI, vLLM and pipelines do: the tokenizer's own special tokens, and a plain cut at a length."""
    from transformers import AutoTokenizer

    encoder, folder, config = exported
    tokenizer = AutoTokenizer.from_pretrained(folder)
    how = {"truncation": True, "max_length": config.prompt.document_tokens}
    assert tokenizer([*DOCUMENTS, ""], **how)["input_ids"] == encoder.prompt.document_ids([*DOCUMENTS, ""])


def test_the_folder_has_the_keys_that_other_servers_read(exported):
    """TEI: pooling_mode_*, max_seq_length. vLLM: names of modules, the first true key of the pooling, do_lower_case."""
    _, folder, config = exported
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert next(key for key, value in pooling.items() if value is True) == "pooling_mode_lasttoken"
    assert not pooling["pooling_mode_cls_token"] | pooling["pooling_mode_mean_tokens"]
    modules = json.loads((folder / "modules.json").read_text())
    assert [one["type"] for one in modules] == [
        f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")
    ]
    about = json.loads((folder / "sentence_bert_config.json").read_text())
    whole = config.prompt.prefix_tokens + config.prompt.query_tokens
    assert (about["max_seq_length"], about["do_lower_case"]) == (whole, False)
    assert about["document_length"] == config.prompt.document_tokens


def test_transformers_4_and_tei_find_the_rotation_under_its_old_name(exported):
    """Without it earlier TEI does not start, and transformers 4 rotates by its default base: other vectors, no word."""
    _, folder, _ = exported
    about = json.loads((folder / "config.json").read_text())
    assert about["rope_theta"] == about["rope_parameters"]["rope_theta"]
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    scaled = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}
    assert _old_rotation(scaled) == {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}
    assert _old_rotation({"sliding_attention": {"rope_theta": 1e4}}) == {}


def test_one_length_for_all_texts_needs_no_key_of_version_6(tiny_student, tmp_path):
    whole = {"prompt.prefix_tokens": 20, "prompt.query_tokens": 28, "prompt.document_tokens": 48}
    config = parse_config(small_parameters(**whole), "test")
    model = add_adapter(tiny_student, load_tokenizer(tiny_student, config.prompt), config)
    save_adapter(model, tmp_path / "adapter")
    export_model(tiny_student, tmp_path / "adapter", tmp_path / "export", config, [TASK])
    assert "document_length" not in json.loads((tmp_path / "export" / "sentence_bert_config.json").read_text())


def test_both_sides_of_a_symmetric_task_and_the_only_task_are_served(exported):
    from sentence_transformers import SentenceTransformer

    encoder, folder, _ = exported
    tasks = {"sky": TaskPrompt(TASK.instruction, True, SHOTS["sky"])}
    set_prompts(folder, encoder.prompt, tasks, only="sky", shots_from="outputs/register")
    model = SentenceTransformer(str(folder), device="cpu")
    expected = encoder.encode_queries(QUERIES, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(model.encode_query(QUERIES), expected, atol=1e-5)
    documents = encoder.encode_queries(QUERIES, TASK.instruction)
    np.testing.assert_allclose(model.encode_query(QUERIES, prompt_name="sky:document"), documents, atol=1e-5)
    settings = folder / "config_sentence_transformers.json"
    assert json.loads(settings.read_text())["shots_from"] == "outputs/register"
    set_prompts(folder, encoder.prompt, tasks)
    again = json.loads(settings.read_text())
    assert ("query" in again["prompts"], "shots_from" in again) == (False, False)


def test_the_documented_lines_give_the_same_vectors(exported):
    encoder, folder, _ = exported
    expected = encoder.encode_queries(QUERIES, TASK.instruction, SHOTS["sky"])
    for block in ("sentence-transformers", "shared prefix", "transformers", "plain tokenization"):
        queries = documented(block, folder=str(folder), texts=QUERIES, task="sky")["queries"]
        np.testing.assert_allclose(np.asarray(queries), expected, atol=1e-5, err_msg=block)


@pytest.mark.slow
def test_the_adapter_alone_gives_the_export_s_hidden_states(exported, tiny_student):
    from transformers import AutoModel

    _, folder, _ = exported
    names = documented("adapter", folder=str(folder), student=str(tiny_student), adapter=str(folder.parent / "adapter"))
    ids = names["tokenizer"]("<query>is it\n<response>", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        alone, merged = names["model"](ids), AutoModel.from_pretrained(folder)(ids)
    torch.testing.assert_close(alone.last_hidden_state, merged.last_hidden_state, atol=1e-5, rtol=1e-4)
