"""Compiled kernels fit the shared memory of the cards that the recipes name, without one of them at hand."""

import json
import subprocess
import sys

import pytest

from components.model.attention import flex_options
from tests.model.flex_kernels import CARDS
from tests.samples import ROOT

SPARE = 4 * 1024


@pytest.mark.slow
def test_kernels_compiled_for_four_architectures_fit_with_room() -> None:
    command = [sys.executable, "-m", "tests.model.flex_kernels", *CARDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    needs = json.loads(done.stdout)
    sides = {
        f"{name} {side}" for name in ("flex", "norm", "residual", "gate", "rope") for side in ("forward", "backward")
    }
    assert {kind for found in needs.values() for kind in found} == sides
    spare = {
        (name, kind): CARDS[name].shared_memory - number
        for name, found in needs.items()
        for kind, number in found.items()
    }
    assert min(spare.values()) >= SPARE, spare


def test_only_cards_of_little_shared_memory_get_fewer_stages() -> None:
    chosen = {name: flex_options(card.shared_memory) for name, card in CARDS.items()}
    assert chosen == {"sm_80": None, "sm_86": {"fwd_num_stages": 2}, "sm_89": {"fwd_num_stages": 2}, "sm_90": None}
