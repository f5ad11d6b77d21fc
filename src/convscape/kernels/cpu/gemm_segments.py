"""Which pixels and channels of an implicit matrix product a share makes, and where they lie."""

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
from convscape.kernels.cpu.jit import inlined, kernel, maker
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.tile import block_vectors, own_blocks


@maker
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
    total = 0
    for line in range(len(table)):
        total += table[line, SIZE_N] * table[line, SIZE_H] * table[line, SIZE_W]
    return total


@kernel
def own_channels(part, parts, k_size, lanes, by_channels, fresh):
    """A thread's output channels [low, high): all where threads divide pixels."""
    if by_channels and fresh:
        vectors = (k_size + lanes - 1) // lanes
        low, high = vectors * part // parts * lanes, vectors * (part + 1) // parts * lanes
        return low, min(k_size, high)
    if by_channels:
        # Blocks as they are packed, if there are enough for each thread.
        return own_blocks(part, parts, k_size, lanes)
    return 0, k_size


@maker
def blocks_of(low, high, lanes):
    """Where blocks of these output channels begin."""
    starts, count = np.empty((high - low) // lanes + 2, np.int64), 0
    while low < high:
        starts[count] = low
        low += block_vectors(high - low, lanes) * lanes
        count += 1
    return starts[:count]


@kernel
def room_of(segments, together):
    """Pixels of the largest chunk, whole tiles of each segment."""
    room = 0
    for m in range(len(segments)):
        size = (segments[m, 2] + ROWS - 1) // ROWS * ROWS
        room = room + size if together else max(room, size)
    return room


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

    Rows of the last tile beyond the last pixel repeat it.
    """
    if product[BATCH_LAST]:
        _place_batch_last(product, first, size, rows, cells, reach)
    else:
        _place_lines(product, first, size, rows, cells, reach)
    for p in range(size, (size + ROWS - 1) // ROWS * ROWS):
        rows[p], cells[p] = rows[size - 1], cells[size - 1]


@inlined
def _count(numbers, first, many, at, step):
    """At, at + step and so on: added, as vectors of 64-bit integers take long to multiply."""
    # Of an unsigned place Numba doesn't ask whether it counts from the end.
    for i in range(np.uint64(first), np.uint64(first + many)):
        numbers[i] = at
        at += step


@kernel
def _place_lines(product, first, size, rows, cells, reach):
    """In the order (n, h, w): a line's pixels are found at once, and tiles need all taps."""
    line, w = divmod(first, product[SIZE_W])
    n, h = divmod(line, product[SIZE_H])
    step, y_step = product[STEP_W], product[Y_W]
    p = 0
    while p < size:
        many = min(product[SIZE_W] - w, size - p)
        row = product[START] + n * product[STEP_N] + h * product[STEP_H] + w * step
        cell = product[Y_START] + n * product[Y_N] + h * product[Y_H] + w * y_step
        _count(rows, p, many, row, step)
        _count(cells, p, many, cell, y_step)
        p += many
        w = 0
        h += 1
        if h == product[SIZE_H]:
            h = 0
            n += 1
    for t in range((size + ROWS - 1) // ROWS):
        reach[t, 0], reach[t, 1], reach[t, 2], reach[t, 3] = 0, product[TAPS_R], 0, product[TAPS_S]


@kernel
def _place_batch_last(product, first, size, rows, cells, reach):
    """In the order (h, w, n) a tile's pixels have one place; taps that read padding are skipped."""
    taps_r, taps_s = product[TAPS_R], product[TAPS_S]
    down, across = product[DOWN : DOWN + 4], product[ACROSS : ACROSS + 4]
    for t in range((size + ROWS - 1) // ROWS):
        reach[t, 0], reach[t, 1], reach[t, 2], reach[t, 3] = taps_r, 0, taps_s, 0
    place_of, n = divmod(first, product[SIZE_N])
    p = 0
    while p < size:
        h, w = divmod(place_of, product[SIZE_W])
        many = min(product[SIZE_N] - n, size - p)
        row = product[START] + h * product[STEP_H] + w * product[STEP_W]
        cell = product[Y_START] + h * product[Y_H] + w * product[Y_W]
        step, y_step = product[STEP_N], product[Y_N]
        _count(rows, p, many, row + n * step, step)
        _count(cells, p, many, cell + n * y_step, y_step)
        r_low, r_high = _real_taps(down, taps_r, h)
        s_low, s_high = _real_taps(across, taps_s, w)
        for t in range(p // ROWS, (p + many - 1) // ROWS + 1):
            reach[t, 0], reach[t, 1] = min(reach[t, 0], r_low), max(reach[t, 1], r_high)
            reach[t, 2], reach[t, 3] = min(reach[t, 2], s_low), max(reach[t, 3], s_high)
        p += many
        n = 0
        place_of += 1
