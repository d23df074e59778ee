"""The machine's GPUs: a GPU stage of a flow locks every card that it can see, so two runs never share one.

One lock file a card in /tmp, for all users and checkouts of the machine. No server keeps the slot, so neither a restart
of Prefect nor a crash can take or leak it. `CUDA_VISIBLE_DEVICES=1` of a worker makes its runs lock that card only. A
machine without a GPU has one slot.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components.base.locks import MACHINE, wait_for_lock

FOLDER = MACHINE
DEVICES = Path("/dev")


def visible_cards() -> list[str]:
    """Names of the cards that CUDA would use: the ids of CUDA_VISIBLE_DEVICES, else the numbers of all cards."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is None:
        found = [device.name.removeprefix("nvidia") for device in DEVICES.glob("nvidia[0-9]*")]
    else:
        found = [card.strip().replace("/", "_") for card in stated.split(",") if card.strip() not in {"", "-1"}]
    return sorted(set(found)) or ["0"]


@contextmanager
def hold_cards(say: Callable[[str], object], check: Callable[[], object]) -> Iterator[None]:
    """Hold the locks of all visible cards, always taken in the same order; see `wait_for_lock` for say and check."""
    with ExitStack() as held:
        for card in visible_cards():
            held.enter_context(wait_for_lock(FOLDER / f"embedding-foundry-gpu-{card}.lock", say, check))
        yield
