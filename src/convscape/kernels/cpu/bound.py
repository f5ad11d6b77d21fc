"""Launches of which all is known but where things lie, and the results that they fill.

The way from Python into compiled code looks at every argument again: a microsecond each in a loop,
several right behind a kernel that has emptied the caches. All but a few addresses follow from
shapes. So a kernel is asked once what it would start its team with (`convscape.kernels.cpu.room`),
with stand-ins for what is not known; a call copies that, puts the addresses in and starts the team.
"""

import ctypes
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from convscape.kernels.cpu import memory, tape, threads
from convscape.kernels.cpu.divide import again
from convscape.kernels.cpu.jit import entry
from convscape.kernels.cpu.memory import Array
from convscape.kernels.cpu.room import room_of

_MOST = 12  # addresses of a launch
_MARK = 0x5AFE_C0DE  # the upper half of a stand-in: no address of a process, no size
_WORD = 8


def place(number: int) -> int:
    """What stands for an address that a call will be given in this position."""
    assert number < _MOST
    return (_MARK << 32) + (number << 6)


def lies_at(number: int, count: int, dtype: Any) -> Array:
    """What stands for an array of `count` elements at that address; nobody may look into it."""
    return _array_at(place(number), count, dtype)


class Launch:
    """A kernel's launch that is told addresses.

    Args:
        kernel: As `convscape.kernels.cpu.threads.launch` takes it.
        shares: Threads wanted.
        arguments: What the kernel computes on, with `place` and `lies_at` for what is not known.

    Example:
        >>> from convscape.kernels.cpu.layout import _plain_part
        >>> given, out = lies_at(0, 6, np.float32), lies_at(1, 6, np.float32)
        >>> turn = Launch(_plain_part, 1, given, (1, 2, 3), out)
        >>> x, y = np.arange(6, dtype=np.float32), np.empty(6, np.float32)
        >>> turn(memory.address(x), memory.address(y))
        >>> y.tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    """

    __slots__ = ("_arguments", "_body", "_kernel", "_room", "_shares", "_words")

    def __init__(self, kernel: Any, shares: int, *arguments: Any) -> None:
        self._kernel, self._shares, self._arguments = kernel, max(shares, 1), arguments
        if threads.bind() is None:
            self._body = 0
            return
        self._body, room = room_of(kernel, self._shares, arguments)
        self._room = np.frombuffer(room + bytes(-len(room) % _WORD), np.int64)
        words = np.flatnonzero(self._room >> 32 == _MARK)
        self._words = np.stack([words, (self._room[words] & 0xFFFF_FFFF) >> 6], 1)

    def __call__(self, *places: int) -> None:
        """Run it, given the address of each stand-in.

        Raises:
            MemoryError: A share found no memory.
        """
        if self._body == 0:  # no team that could be started: Python's threads run the shares
            threads.launch(self._kernel, self._shares, *_known(self._arguments, places))
            return
        given = places + _NONE[len(places) :]
        if tape.active is not None and tape.active.pool.mine():
            room = self._room.copy()
            room[self._words[:, 0]] = np.array(given)[self._words[:, 1]]
            tape.active.take(self._body, room.tobytes(), self._arguments)
        # A forked process has one thread, which then computes all shares.
        team = 1 if threads.forked() else self._shares
        if _start(self._body, self._room, self._words, given, team):
            raise MemoryError("a share found no memory")


_NONE = (0,) * _MOST


@entry
def _start(body, room, words, given, team):
    """Start a team with a copy of the room that has the addresses; whether a share failed."""
    own = room.copy()
    for n in range(len(words)):
        own[words[n, 0]] = given[words[n, 1]]
    failed = again(body, own.ctypes.data, team)
    own[0] = 0  # Numba frees an array behind its last use: that must not be before the call
    return failed


def _known(value: Any, places: tuple[int, ...]) -> Any:
    """Arguments with what stood for addresses replaced."""
    if isinstance(value, tuple):
        return tuple(_known(v, places) for v in value)
    if isinstance(value, int) and value >> 32 == _MARK:
        return places[(value & 0xFFFF_FFFF) >> 6]
    if isinstance(value, np.ndarray) and value.ctypes.data >> 32 == _MARK:
        at = places[(value.ctypes.data & 0xFFFF_FFFF) >> 6]
        return _array_at(at, value.size, value.dtype)
    return value


def _array_at(address: int, count: int, dtype: Any) -> Array:
    kind = np.dtype(dtype)
    block = (ctypes.c_char * (count * kind.itemsize)).from_address(address)
    return np.ndarray((count,), kind, block)


@dataclass(frozen=True, slots=True)
class Result:
    """An array that a call fills.

    Args:
        shape: Its shape.
        strides: Its strides, in elements; without gaps.
        size: Its elements.
        dtype: Its element type.
        large: Whether it is made of memory that is kept (`convscape.kernels.cpu.memory`).
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    size: int
    dtype: np.dtype[Any]
    large: bool

    @staticmethod
    def of(shape: tuple[int, ...], dtype: Any, last: bool) -> "Result":
        """For an array (N, C, ...) of this shape, in channels-last memory or plain."""
        kind, size = np.dtype(dtype), prod(shape)
        order = (0, *range(2, len(shape)), 1) if last else tuple(range(len(shape)))
        strides, step = [0] * len(shape), 1
        for axis in reversed(order):
            strides[axis] = step
            step *= shape[axis]
        return Result(tuple(shape), tuple(strides), size, kind, memory.keeps(size * kind.itemsize))

    def kept(self) -> Array:
        """The array, of memory that is kept."""
        line = memory.empty(self.size, self.dtype)
        step = self.dtype.itemsize
        return np.ndarray(self.shape, self.dtype, line, 0, tuple(s * step for s in self.strides))


@dataclass(frozen=True, slots=True)
class Bound:
    """An op of which all is known but where things lie.

    Args:
        results: What it fills.
        fill: Computes, given addresses in an order of its own.
    """

    results: tuple[Result, ...]
    fill: Any
