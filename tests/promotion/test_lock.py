"""The promotion lock: one holder, and a dead one's is freed."""

import json
import time
from pathlib import Path

import pytest

from components.base.owner import describe_owner
from components.promotion.lock import LOCK_TAG, lock_name, promotion_lock
from components.tracking.registry import RefusedError
from components.tracking.store import connect
from tests.tracking.stores import NAME


@pytest.mark.slow
def test_the_lock_is_exclusive_and_names_its_holder(uri: str) -> None:
    client = connect(uri)
    with (
        promotion_lock(client, NAME, "ann"),
        pytest.raises(RefusedError, match="ann since"),
        promotion_lock(client, NAME, "bob", patience=0.5),
    ):
        pass
    with promotion_lock(client, NAME, "bob", patience=0.5):
        pass


def test_the_lock_of_a_dead_promoter_is_freed_at_once_and_no_other(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    dead = {**describe_owner(tmp_path), "pid": 4_000_000}
    client.create_registered_model(lock_name(NAME), {LOCK_TAG: json.dumps(dead)})
    begin = time.monotonic()
    with promotion_lock(client, NAME, "bob", patience=0):
        assert time.monotonic() - begin < 5
    for unknown in ({**dead, "host": "elsewhere"}, {}):
        client.create_registered_model(lock_name(NAME), {LOCK_TAG: json.dumps(unknown)} if unknown else {})
        with pytest.raises(RefusedError, match="holds the lock"), promotion_lock(client, NAME, "bob", patience=0):
            pass
        client.delete_registered_model(lock_name(NAME))
