"""Sums in place, and arrays one behind the other: what lies between a network's layers."""

from collections.abc import Sequence

import numpy as np

from convscape.kernels.cpu import memory
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.scratch import at_address
from convscape.kernels.cpu.threads import launch

_SPLIT_FROM = 1 << 16  # elements, about 20 microseconds of one thread


@team
def _add_part(part, parts, places, count, relu, like):
    """One tensor added to another, from the addresses of both."""
    if divide(part, parts):
        return
    low, high = count * part // parts, count * (part + 1) // parts
    y, other = at_address(places[0], count, like), at_address(places[1], count, like)
    y, other = y[low:high], other[low:high]
    if relu:
        for i in range(len(y)):
            total = y[i] + other[i]
            y[i] = 0 if total < 0 else total  # NaN passes
    else:
        for i in range(len(y)):
            y[i] += other[i]


def add(y: Array, other: Array, relu: bool, threads: int) -> None:
    """Add another array to y, in place; then take max(y, 0) if asked for.

    Args:
        y: Any shape, in memory without gaps.
        other: Like y, in the same order of memory.
        relu: Whether negative sums become 0.
        threads: Threads to use.
    """
    threads = threads if y.size >= _SPLIT_FROM else 1
    places = memory.address(y), memory.address(other)
    launch(_add_part, threads, places, y.size, relu, np.empty(0, y.dtype))


@team
def _join_part(part, parts, places, widths, rows, to, like):
    """Rows of several arrays, each row behind the one of the array before."""
    if divide(part, parts):
        return
    low, high = rows * part // parts, rows * (part + 1) // parts
    width = widths.sum()
    y = at_address(to, rows * width, like)
    begin = 0
    for n in range(len(places)):
        own = widths[n]
        x = at_address(places[n], rows * own, like)
        for row in range(low, high):
            line = y[row * width + begin : row * width + begin + own]
            given = x[row * own : row * own + own]
            for i in range(len(line)):
                line[i] = given[i]
        begin += own


def join(arrays: Sequence[Array], threads: int) -> Array:
    """Channels-last arrays, one behind the other along the channels.

    Args:
        arrays: (N, C, H, W) each, in channels-last memory without gaps; N, H and W are the same.
        threads: Threads to use.

    Returns:
        (N, sum of all C, H, W), in channels-last memory.
    """
    n, _, h, w = arrays[0].shape
    widths = np.array([a.shape[1] for a in arrays])
    rows, width = n * h * w, int(widths.sum())
    line = memory.empty(rows * width, arrays[0].dtype)
    places = np.array([memory.address(a) for a in arrays])
    threads = threads if line.size >= _SPLIT_FROM else 1
    launch(_join_part, threads, places, widths, rows, memory.address(line), np.empty(0, line.dtype))
    return line.reshape(n, h, w, width).transpose(0, 3, 1, 2)
