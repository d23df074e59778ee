"""The next step's data is made beside this step, in order, one step ahead."""

import threading

import pytest

from components.base.errors import UserError
from components.training.ahead import Ahead


def test_the_next_step_is_made_while_this_one_is_used() -> None:
    made: list[int] = []
    begun = {step: threading.Event() for step in range(2, 5)}

    def make(step: int) -> tuple[int, int]:
        made.append(step)
        begun[step].set()
        return step, threading.get_ident()

    with Ahead(make, range(2, 5)) as ahead:
        for step in range(2, 5):
            taken, thread = ahead.take()
            assert taken == step
            assert thread != threading.get_ident()
            if step < 4:
                assert begun[step + 1].wait(10)  # nobody has taken it yet
                ahead.settle()
                assert made == list(range(2, step + 2))
    assert made == [2, 3, 4]


def test_an_error_comes_with_the_step_that_has_it() -> None:
    def make(step: int) -> int:
        if step == 1:
            raise UserError("no such text")
        return step

    with Ahead(make, range(3)) as ahead:
        assert ahead.take() == 0
        ahead.settle()
        with pytest.raises(UserError, match="no such text"):
            ahead.take()
