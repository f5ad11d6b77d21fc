"""Zeros where a strided convolution's input gradient has nothing to add up.

A stride s leaves every s-th pixel of an axis to each of s phases; those that no kernel cell reaches
are zero.
"""

from collections.abc import Sequence

import numpy as np

from convscape.kernels.cpu.bound import Launch, Result, lies_at
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.threads import launch

_SPLIT_FROM = 1 << 15  # elements, about 5 microseconds of one thread


@team
def _clear_part(part, parts, y, strides, shape, unmet):
    """A share of the lines."""
    if divide(part, parts):
        return
    n_size, c_size, h_size, w_size = shape
    sn, sc, sh, sw = strides
    down, across = unmet.shape
    # Channels that are neighbours go together; else each has its own line.
    together = c_size if sc == 1 else 1
    lines = n_size * (c_size // together) * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_size)
        n, c = divmod(plane, c_size // together)
        at = n * sn + c * sc + h * sh
        if sw == 1 and together == 1:
            if unmet[h % down].any():
                y[at : at + w_size] = 0  # whole, which is faster: the rest is yet to come
            continue
        for j in range(across):
            if unmet[h % down, j]:
                for w in range(j, w_size, across):
                    y[at + w * sw : at + w * sw + together] = 0


def clear(
    y: Array, stride: tuple[int, int], phases: Sequence[tuple[int, int]], threads: int
) -> None:
    """Set the pixels of these phases to zero, and maybe others: before those are written.

    Args:
        y: (N, C, H, W).
        stride: Pixels from one of a phase to its next, along H and W.
        phases: The first pixel of each.
        threads: Threads to use.
    """
    if not phases:
        return
    memory, strides = flat(y)
    threads = threads if y.size >= _SPLIT_FROM else 1
    launch(_clear_part, threads, memory, strides, y.shape, _table(stride, phases))


def clearing(
    y: Result, stride: tuple[int, int], phases: Sequence[tuple[int, int]], threads: int
) -> Launch | None:
    """`clear` of a result of (N, C, H, W), told where it lies; None without phases."""
    if not phases:
        return None
    threads = threads if y.size >= _SPLIT_FROM else 1
    memory = lies_at(0, y.size, y.dtype)
    return Launch(_clear_part, threads, memory, y.strides, y.shape, _table(stride, phases))


def _table(stride: tuple[int, int], phases: Sequence[tuple[int, int]]) -> Array:
    """Which phases are to be cleared."""
    unmet = np.zeros(stride, np.bool_)
    for phase in phases:
        unmet[phase] = True
    return unmet
