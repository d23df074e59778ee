"""A wrong or unknown key is named by its path; all errors of a file are shown, a line each."""

import pytest

from components.base.errors import UserError
from components.config import parse_config
from tests.samples import small_parameters


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.learning_rat", 0.1, "train.learning_rat: unknown key; did you mean train.learning_rate?"),
        ("trian", {}, "params.yaml: trian: unknown key; did you mean train?"),
        ("train.xyz", 1, "train.xyz: unknown key; remove it or correct its name"),
        ("train.temperature", 0, "train.temperature: Input should be greater than 0; it is '0'"),
        ("train.steps", "many", "train.steps: Input should be a valid integer"),
        ("train", None, "train: must hold keys with values; it is empty"),
        ("encoder.attention", "bidirectional", "encoder: bidirectional attention goes with mean pooling"),
        ("train.phases", [{"kinds": ["sts"], "fraction": 0.5}], "train.phases must add up to 1"),
        (
            "train.rendezvous",
            "trainer-0:29400",
            "rendezvous has no effect with nodes: 1; set nodes above 1",
        ),
        ("train.phases", [{"kinds": ["sts"], "fraktion": 1}], "train.phases.0.fraktion: unknown key; did you mean"),
        ("fetch.sources.boolq.origin.sha256", "abc", "fetch.sources.boolq.origin.sha256: String should match"),
        ("fetch.sources.boolq.origin.pth", "abc", "did you mean fetch.sources.boolq.origin.path?"),
        ("fetch.sources.boolq.origin.kind", "whel", "fetch.sources.boolq.origin: needs 'kind', one of wheel, local"),
        ("fetch.sources.boolq.encoding", 5, "encoding: Input should be a valid string or Input should be a valid list"),
        ("train.document_tokens", 4096, "params.yaml: train.document_tokens: 4096 is over prompt.document_tokens"),
        ("fetch.models.student.shape", {"vocab_size": 5}, "fetch.models.student"),
        ("fetch.models.dense_teacher.layers", 2, "layers has no effect on huggingface"),
    ],
)
def test_a_wrong_key_is_named_by_its_path(key, value, message):
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**{key: value}), "params.yaml")
    assert message in str(caught.value)
    assert all(line.startswith("params.yaml: ") for line in str(caught.value).splitlines())


def test_one_error_is_one_line():
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**{"train.learning_rat": 0.1}), "params.yaml")
    assert "\n" not in str(caught.value)


def test_all_errors_of_a_file_are_shown():
    raw = small_parameters(
        **{"train.steps": "many", "score.model_": "x", "mine.margin": 2, "evaluate.scoring_processes": -1}
    )
    del raw["seed"]
    with pytest.raises(UserError) as caught:
        parse_config(raw, "params.yaml")
    named = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert named == ["seed", "score.model_", "mine.margin", "train.steps", "evaluate.scoring_processes"]


def test_a_suggestion_is_a_key_of_the_same_place():
    """`revison` is near HubOrigin's `revision`, which a wheel does not have."""
    with pytest.raises(UserError) as caught:
        parse_config(small_parameters(**{"fetch.sources.boolq.origin.revisio": "x"}), "params.yaml")
    assert "origin.revision?" not in str(caught.value)
    hub = {"kind": "hub", "repo": "a/b", "revision": "c", "licence": "MIT", "revisio": "x"}
    with pytest.raises(UserError, match=r"did you mean fetch\.sources\.boolq\.origin\.revision\?"):
        parse_config(small_parameters(**{"fetch.sources.boolq.origin": hub}), "params.yaml")
