"""`key.path=value`: parsed as YAML, set in place, refused in one line."""

import pytest

from components.base.errors import UserError
from components.config.overrides import apply_overrides, parse_overrides


def test_values_are_yaml() -> None:
    items = ["train.steps=50", "mine.margin=0.9", "retrieve.bm25=null", "train.lora={rank: 8}", "score.instruction=a=b"]
    assert parse_overrides(items) == {
        "train.steps": 50,
        "mine.margin": 0.9,
        "retrieve.bm25": None,
        "train.lora": {"rank": 8},
        "score.instruction": "a=b",
    }


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["train.steps"], "set train.steps: must be KEY=VALUE"),
        (["=5"], "must be KEY=VALUE"),
        (["train.matryoshka=[1"], "not valid YAML"),
        (["seed=1", "seed=2"], "seed is given twice"),
    ],
)
def test_wrong_items(items: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_overrides(items)
    assert "\n" not in str(caught.value)


def test_a_value_is_set_in_place_and_the_original_stays() -> None:
    raw = {"train": {"steps": 3, "lora": {"rank": 16, "alpha": 32}}, "retrieve": {"bm25": None}}
    changed = apply_overrides(raw, {"train.lora": {"rank": 8}, "retrieve.bm25.k1": 2, "mine.margin": 0.9})
    assert changed == {
        "train": {"steps": 3, "lora": {"rank": 8}},
        "retrieve": {"bm25": {"k1": 2}},
        "mine": {"margin": 0.9},
    }
    assert raw == {"train": {"steps": 3, "lora": {"rank": 16, "alpha": 32}}, "retrieve": {"bm25": None}}


def test_a_key_through_a_single_value() -> None:
    with pytest.raises(UserError, match=r"set train\.steps\.x: there is no 'x', '3' is a single value"):
        apply_overrides({"train": {"steps": 3}}, {"train.steps.x": 1})
