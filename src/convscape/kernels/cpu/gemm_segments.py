"""Which output pixels of an implicit matrix product a share has, and where they lie."""

import numpy as np

from convscape.kernels.cpu.gemm_problem import (
    ACROSS,
    BATCH_LAST,
    DOWN,
    SIZE_H,
    SIZE_N,
    SIZE_W,
    START,
    STEP_H,
    STEP_N,
    STEP_W,
    TAPS_R,
    TAPS_S,
    Y_H,
    Y_N,
    Y_START,
    Y_W,
)
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.simd import ROWS


@kernel
def segments_of(table, part, parts, most):
    """The pixels of a share as (line of the table, first pixel, how many), at most so many each.

    Of every product a share has a part, whole tiles.
    """
    found = np.empty((len(table) * (2 + _pixels(table) // (parts * most)), 3), np.int64)
    count = 0
    for line in range(len(table)):
        pixels = _pixels(table[line : line + 1])
        tiles = (pixels + ROWS - 1) // ROWS
        low, high = tiles * part // parts * ROWS, min(pixels, tiles * (part + 1) // parts * ROWS)
        for first in range(low, high, most):
            found[count, 0], found[count, 1] = line, first
            found[count, 2] = min(most, high - first)
            count += 1
    return found[:count]


@kernel
def _pixels(table):
    return np.sum(table[:, SIZE_N] * table[:, SIZE_H] * table[:, SIZE_W])


@kernel
def _real_taps(axis, taps, o):
    """The taps [first, last) that read a real cell at output o: 0 <= o a + b + tap d < n."""
    a, b, d, n = axis
    first, last = taps, 0
    for tap in range(taps):
        if 0 <= o * a + b + tap * d < n:
            first, last = min(first, tap), tap + 1
    return first, last


@kernel
def place(product, first, size, rows, cells, reach):
    """Where the pixels from `first` on read and are written, and which taps their tiles need.

    In the order (h, w, n) a tile's pixels have one place, and taps that read padding are left out.
    Rows beyond the last pixel repeat it.
    """
    taps_r, taps_s, batch_last = product[TAPS_R], product[TAPS_S], product[BATCH_LAST]
    down, across = product[DOWN : DOWN + 4], product[ACROSS : ACROSS + 4]
    n_size, h_size, w_size = product[SIZE_N], product[SIZE_H], product[SIZE_W]
    if batch_last:
        cell, n = divmod(first, n_size)
        h, w = divmod(cell, w_size)
    else:
        line, w = divmod(first, w_size)
        n, h = divmod(line, h_size)
    for p in range((size + ROWS - 1) // ROWS * ROWS):
        rows[p] = product[START] + n * product[STEP_N] + h * product[STEP_H] + w * product[STEP_W]
        cells[p] = product[Y_START] + n * product[Y_N] + h * product[Y_H] + w * product[Y_W]
        near = reach[p // ROWS]
        if p % ROWS == 0:
            near[0], near[1], near[2], near[3] = 0, taps_r, 0, taps_s
            if batch_last:
                near[0], near[1] = _real_taps(down, taps_r, h)
                near[2], near[3] = _real_taps(across, taps_s, w)
        elif batch_last and n == 0:
            r_low, r_high = _real_taps(down, taps_r, h)
            s_low, s_high = _real_taps(across, taps_s, w)
            near[0], near[1] = min(near[0], r_low), max(near[1], r_high)
            near[2], near[3] = min(near[2], s_low), max(near[3], s_high)
        if p >= size - 1:
            continue
        if batch_last:
            n += 1
            if n == n_size:
                n = 0
                w += 1
                if w == w_size:
                    w = 0
                    h += 1
        else:
            w += 1
            if w == w_size:
                w = 0
                h += 1
                if h == h_size:
                    h = 0
                    n += 1
