"""Launches in a row, taken down once and played again without Python between them.

Kernels leave the caches full of their own data. What Python does between two of them, a
microsecond's work in a loop, then takes some tens, for each layer of a network: most of a small
one's time. A launch is a kernel's code, a room with its arguments and a number of shares; all that
follows from shapes alone, and so do the addresses, if the memory is a recording's own. So a tape
keeps copies of the rooms, and plays them in one call.

What is recorded must do all its work in launches, and its memory must come from
`convscape.kernels.cpu.memory`: what NumPy or Python compute beside is not computed again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from convscape.kernels.cpu import memory
from convscape.kernels.cpu.divide import has_failed, in_a_row
from convscape.kernels.cpu.jit import entry

_STATE = slice(8, 12)  # of a room: what a share that failed has set

active: "Tape | None" = None
"""What takes the launches down of the thread that records."""

_one_at_a_time = Lock()


class Tape:
    """Steps to be played in order: launches, and functions that a caller puts between them.

    Args:
        pool: Its memory; by default a new one.

    Example:
        >>> from convscape.kernels.cpu.layout import plain
        >>> x, tape = np.ones((1, 2, 2, 3), np.float32), Tape()
        >>> with tape.recording():
        ...     y = plain(x, 1)
        >>> x[:] = 5.0
        >>> tape.play()
        >>> float(y.min())
        5.0
    """

    def __init__(self, pool: memory.Pool | None = None) -> None:
        self.pool = pool or memory.Pool()
        self.launches = 0
        self._steps: list[Callable[[], Any]] = []
        self._rooms: list[tuple[int, bytes, int]] = []  # of launches that are no step yet

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Take down what this thread launches meanwhile; others wait with theirs."""
        global active
        with _one_at_a_time:
            active, memory.pool = self, self.pool
            try:
                yield
            finally:
                active = memory.pool = None
                self._gather()

    def take(self, body: int, room: bytes, arguments: tuple[Any, ...]) -> None:
        """Take down a launch (`convscape.kernels.cpu.room`), which the caller still has to run."""
        self._rooms.append((body, room, int.from_bytes(room[:8], "little", signed=True)))
        self.launches += 1
        self._hold(arguments)

    def then(self, step: Callable[[], Any]) -> None:
        """Let a function be called at this place, in every playing."""
        self._gather()
        self._steps.append(step)

    def play(self) -> None:
        """All steps, once more. One thread at a time: the memory is the tape's.

        Raises:
            MemoryError: A share found no memory.
        """
        for step in self._steps:
            step()

    def _gather(self) -> None:
        if self._rooms:
            self._steps.append(_Launches(self._rooms))
            self._rooms = []

    def _hold(self, given: Any) -> None:
        """Hold the arrays among arguments: the rooms have their addresses."""
        for value in given:
            if isinstance(value, tuple):
                self._hold(value)
            elif isinstance(value, np.ndarray):
                memory.address(value)


class _Launches:
    """Launches with nothing between them."""

    def __init__(self, taken: list[tuple[int, bytes, int]]) -> None:
        line = memory.LINE
        ends = np.cumsum([-(-len(room) // line) * line for _, room, _ in taken])
        block = np.zeros(int(ends[-1]) + line, np.uint8)
        self._rooms = block[-memory.address(block) % line :]
        self._table = np.empty((len(taken), 2), np.int64)
        self._team = max(shares for _, _, shares in taken)
        begin = memory.address(self._rooms)
        for n, (body, room, _) in enumerate(taken):
            at = int(ends[n - 1]) if n else 0
            self._rooms[at : at + len(room)] = np.frombuffer(room, np.uint8)
            self._table[n] = body, begin + at

    def __call__(self) -> None:
        if not _play(self._table, self._team):
            for place in self._table[:, 1] - memory.address(self._rooms):
                self._rooms[place:][_STATE] = 0
            raise MemoryError("a share found no memory")


@entry
def _play(table, team):
    """Start all; whether no share failed."""
    in_a_row(table.ctypes.data, len(table), team)
    failed = 0
    for n in range(len(table)):
        failed += has_failed(table[n, 1])
    return failed == 0
