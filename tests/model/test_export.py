"""The export loads in plain sentence-transformers and plain transformers, with the trainer's vectors."""

import numpy as np
import pytest
import torch

from components.config import Config, parse_config
from components.contracts import Task
from components.model.backbone import load_tokenizer
from components.model.encoder import Encoder
from components.model.export import export_model, set_prompts
from components.model.prompt import Prompt, Shot
from components.training.train import adapted, save_adapter
from tests.samples import small_parameters

TASK = Task("sky", "retrieval", "Find it.", symmetric=False, weight=1.0, licence="none", source="test")
SHOTS = {"sky": [Shot("why is it so", "because of that")]}
QUERIES = ["is the sky blue", " what?? \n", 'Größe 42 "quoted"']
DOCUMENTS = ["The sky is blue because of scattering, and so is the sea. " * 6, "short"]


@pytest.fixture(params=["special", "plain"])
def exported(request, tiny_student, tmp_path) -> tuple:
    config: Config = parse_config(small_parameters(**{"prompt.template": request.param}), "test")
    tokenizer = load_tokenizer(tiny_student, config.prompt)
    model = adapted(tiny_student, tokenizer, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_adapter(model, tmp_path / "adapter")
    export_model(tiny_student, tmp_path / "adapter", tmp_path / "export", config, [TASK])
    set_prompts(tmp_path / "export", Prompt(tokenizer, config.prompt), [TASK], SHOTS)
    encoder = Encoder.load(tiny_student, config.prompt, config.encoder, tmp_path / "adapter")
    return encoder, tmp_path / "export", config


def test_sentence_transformers_gives_the_same_vectors(exported):
    from sentence_transformers import SentenceTransformer

    encoder, folder, _ = exported
    model = SentenceTransformer(str(folder), device="cpu")
    queries = encoder.encode_queries(QUERIES, TASK.instruction, SHOTS["sky"])
    np.testing.assert_allclose(model.encode_query(QUERIES, prompt_name="sky"), queries, atol=1e-5)
    np.testing.assert_allclose(model.encode_document(DOCUMENTS), encoder.encode_documents(DOCUMENTS), atol=1e-5)


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
