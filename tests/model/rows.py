"""Packed rows of every kind."""

from components.model.packing import join_rows, pack

PREFIX = [1, 40, 41, 42, 43, 44, 45]
SEQUENCES = [[50, 51, 2], [60, 2], [70, 71, 72, 73, 74, 75, 76, 2], [80, 81, 82, 2]]


def joined():
    """A row of three groups: two prefixes, and texts without one."""
    return join_rows([pack(PREFIX, SEQUENCES), pack([1, 90], SEQUENCES[:2]), pack([], SEQUENCES[1:])])
