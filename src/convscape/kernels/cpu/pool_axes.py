"""What pooling's kernels know about an axis: which kernel cells meet which cells, as tables.

A plane is an image in channels-last memory, whose `run` is the number of channels, or one channel
of an image in plain memory, whose `run` is 1. The inner loops go over neighbours in memory.
"""

from dataclasses import replace
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu import memory
from convscape.kernels.cpu.bound import Bound
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.simd import SIMD

CHUNK = 256
"""Channels that one thread pools at a time, so that few and deep pixels are divided too."""

_GRAIN = 1 << 17
"""Cells that one thread reads in the time that another takes to start."""

Axis = tuple[int, int, int, int, int, int]
"""(kernel, stride, dilation, low padding, input cells, output cells)."""


def reads(window: Window, n: int) -> Array:
    """For each output cell (first kernel cell on a real cell, how many there are, that cell).

    The first is what the smallest real position asks for, even where no kernel cell meets one.
    """
    starts = np.arange(window.output(n)) * window.stride - window.padding[0]
    first = np.maximum(0, -(starts // window.dilation))
    last = np.minimum(window.kernel, (n - 1 - starts) // window.dilation + 1)
    cell = starts + first * window.dilation
    return np.stack([first, np.maximum(0, last - first), cell], 1)


def gives(window: Window, n: int) -> Array:
    """For each input cell (first kernel cell that meets it, how many do, the first's output).

    From one to the next the kernel cell rises by `strides(window)[0]`, the output falls by [1].
    """
    return _met(window, np.arange(n), window.output(n))


def phases(window: Window) -> Array:
    """For each of the input cells 0 ... stride - 1 the same, as if outputs had no end."""
    return _met(window, np.arange(window.stride), None)


def strides(window: Window) -> tuple[int, int]:
    """How kernel cells and outputs advance from one kernel cell over an input cell to the next."""
    common = gcd(window.stride, window.dilation)
    return window.stride // common, window.dilation // common


def _met(window: Window, cells: Array, outputs: int | None) -> Array:
    ahead = cells[:, None] + window.padding[0] - np.arange(window.kernel) * window.dilation
    meets = ahead % window.stride == 0
    output = ahead // window.stride
    if outputs is not None:
        meets &= (output >= 0) & (output < outputs)
    first = meets.argmax(1)
    return np.stack([first, meets.sum(1), output[np.arange(len(cells)), first]], 1)


@lru_cache(maxsize=1024)
def firsts(geometry: Geometry, spatial: tuple[int, int], dtype: Any) -> Array:
    """The first columns of `reads`, with a vector of zeros before and after."""
    table = reads(settled(geometry, spatial)[1], spatial[1])[:, 0]
    lanes = SIMD.lanes(4)
    padded = np.zeros(len(table) + 2 * lanes, dtype)
    padded[lanes : lanes + len(table)] = table
    return padded


def in_line(x: Array, last: bool) -> Array:
    """An array's memory as one dimension, in channels-last or plain order; copied if need be."""
    return (x.transpose(0, 2, 3, 1) if last else x).ravel()


def filled(call: Bound, last: bool, *given: Array) -> list[Array]:
    """The results of a call that wants the addresses of arrays, and then of its results."""
    made = [result.kept() for result in call.results]
    if made[0].size:
        lying = [in_line(x, last) for x in given]
        call.fill(*map(memory.address, (*lying, *made)))
    return made


def teams(cells: int, last: bool) -> int:
    """Threads worth starting for so many cells to read or write: one wakes in about 5 us.

    A plain line's cells cost about four times as much as channels, which always fill vectors.
    """
    return max(1, (cells if last else 4 * cells) // _GRAIN)


def planes(shape: tuple[int, ...], last: bool) -> tuple[int, int]:
    """Planes and run of an array of this shape."""
    return (shape[0], shape[1]) if last else (shape[0] * shape[1], 1)


@lru_cache(maxsize=1024)
def settled(geometry: Geometry, spatial: tuple[int, int]) -> tuple[Window, Window]:
    """The windows, a lone output's at stride 1: its stride has no meaning, and 1 is the fastest."""
    windows = []
    for w, n in zip(geometry.windows, spatial, strict=True):
        low, high = w.padding
        if w.output(n) == 1:
            high = w.extent - n - low  # what stride 1 reads no second window from
        windows.append(replace(w, stride=1 if w.output(n) == 1 else w.stride, padding=(low, high)))
    return windows[0], windows[1]


@lru_cache(maxsize=1024)
def forward(geometry: Geometry, spatial: tuple[int, int]) -> tuple[Any, ...]:
    """(H', W'), the tables `reads` of both axes, and both axes."""
    windows = settled(geometry, spatial)
    tables = tuple(reads(w, n) for w, n in zip(windows, spatial, strict=True))
    return geometry.outputs(spatial), tables, _axes(windows, spatial)


@lru_cache(maxsize=1024)
def backward(geometry: Geometry, spatial: tuple[int, int]) -> tuple[Any, ...]:
    """The tables `gives` of both axes and `phases` of the second, both axes, and their strides."""
    windows = settled(geometry, spatial)
    tables = (*(gives(w, n) for w, n in zip(windows, spatial, strict=True)), phases(windows[1]))
    both = *strides(windows[0]), *strides(windows[1])
    return tables, _axes(windows, spatial), both


def _axes(windows: tuple[Window, Window], spatial: tuple[int, int]) -> tuple[Axis, Axis]:
    h, w = (
        (w.kernel, w.stride, w.dilation, w.padding[0], n, w.output(n))
        for w, n in zip(windows, spatial, strict=True)
    )
    return h, w


@kernel
def whole(first_lane, last_lane, lanes, step, limit, to, end):
    """Whether all lanes read in [0, limit), from first_lane to last_lane, and write before end."""
    reach = (lanes - 1) * step
    return first_lane >= 0 and last_lane + reach < limit and to + lanes <= end


@kernel
def interleave(split, parts, room, line):
    """Set line[parts k + p] = split[p room + k]."""
    if parts == 2:  # written as a constant, so that it becomes a shuffle of vectors
        even, odd = split[:room], split[room:]
        pairs = len(line) // 2
        for k in range(pairs):
            line[2 * k] = even[k]
            line[2 * k + 1] = odd[k]
        if 2 * pairs < len(line):
            line[2 * pairs] = even[pairs]
        return
    for phase in range(parts):
        given, taken = split[phase * room :], line[phase:]
        for k in range((len(taken) + parts - 1) // parts):
            taken[parts * k] = given[k]
