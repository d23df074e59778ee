"""The engine's parameters: what belongs to a kind is refused with the other, as it would do nothing."""

import pytest

from components.config import EncodingEngineParams, EngineParams

ADDRESS = "tcp://127.0.0.1:8786"


def test_dask_needs_an_address() -> None:
    with pytest.raises(ValueError, match="kind: dask needs address"):
        EngineParams(kind="dask")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"address": ADDRESS}, "address has no effect on kind: local"),
        ({"retries": 3}, "retries has no effect on kind: local"),
        ({"connect_seconds": 3}, "connect_seconds has no effect on kind: local"),
        ({"kind": "dask", "address": ADDRESS, "workers": 2}, "workers has no effect on kind: dask"),
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EngineParams.model_validate(given)


@pytest.mark.parametrize("workers", ["auto", 0, 8])
def test_workers_are_a_number_or_auto(workers: object) -> None:
    assert EngineParams.model_validate({"workers": workers}).workers == workers


@pytest.mark.parametrize("workers", ["some", -1, 1.5])
def test_other_workers_are_refused(workers: object) -> None:
    with pytest.raises(ValueError, match="workers"):
        EngineParams.model_validate({"workers": workers})


def test_stages_that_embed_with_the_student_have_larger_shards_and_the_same_rules() -> None:
    assert (EngineParams().shard, EncodingEngineParams().shard) == (512, 1024)
    with pytest.raises(ValueError, match="retries has no effect"):
        EncodingEngineParams(retries=1)
