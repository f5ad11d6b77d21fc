"""Maximum pooling: y[h, w] = max over the real cells of window (h, w); NaN wins.

Where a maximum was found is kept as the kernel cell's number, in one byte for kernels of up to 256
cells; where no gradient will be asked for it is not kept.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import inlined, kernel, team
from convscape.kernels.cpu.layout import Array, blank, is_channels_last
from convscape.kernels.cpu.pool_axes import (
    CHUNK,
    firsts,
    forward,
    in_line,
    planes,
    teams,
    whole,
)  # fmt: skip
from convscape.kernels.cpu.pool_flat import flat, flat_part
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import maximum_lanes
from convscape.kernels.cpu.pool_pairs import pairs_lanes
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_LANE_BYTES = SIMD.bits // 8
_ZEROS = SIMD.lanes(4)  # at the start of the table of first columns

_many = maximum_lanes(Shape(VECTORS, 1, whole=True))
_many_masked = maximum_lanes(Shape(VECTORS, 1, whole=False))
_many_ordered = maximum_lanes(Shape(VECTORS, 1, whole=True), exact=False)
_one = maximum_lanes(Shape(1, 1, whole=True))
_one_ordered = maximum_lanes(Shape(1, 1, whole=True), exact=False)
_one_masked = maximum_lanes(Shape(1, 1, whole=False))
_seconds = maximum_lanes(Shape(VECTORS, 2, whole=True))
_seconds_masked = maximum_lanes(Shape(VECTORS, 2, whole=False))
_second_masked = maximum_lanes(Shape(1, 2, whole=False))
_far_masked = maximum_lanes(Shape(1, 0, whole=False))
_two_wide, _three_wide = (pairs_lanes(columns, largest=True) for columns in (2, 3))


@team
def _maximum_part(part, parts, x, y, where, h_reads, w_reads, firsts, count, run, height, width):
    if divide(part, parts):
        return
    h_out = height[-1]
    group = VECTORS if run == 1 else 1
    groups = (count + group - 1) // group
    chunks = (run + CHUNK - 1) // CHUNK
    jobs = groups * h_out * chunks
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        line, chunk = divmod(job, chunks)
        first, h = divmod(line, h_out)
        if run == 1:
            first, last = first * group, min((first + 1) * group, count)
            together = VECTORS if last - first == VECTORS else 1
            for plane in range(first, last, together):
                _plain_line(x, y, where, h_reads[h], firsts, plane, h, together, height, width)
        else:
            channels = (run, chunk * CHUNK, min((chunk + 1) * CHUNK, run))
            _last_line(x, y, where, h_reads[h], w_reads, firsts, first, h, channels, height, width)


@inlined
def _plain_line(x, y, where, rows_read, firsts, plane, h, vectors, height, width):
    """Line h of one plane, or of several together."""
    lanes = _LANE_BYTES // x.itemsize
    (_, _, h_dilation, _, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    r_first, rows, row = rows_read
    numbers = (r_first * s_size, s_size, 1)
    at = (plane * h_size + row) * w_size
    pairs = w_stride == 2 and w_dilation == 1 and 2 <= s_size <= 3
    for w in range(0, w_out, lanes):
        lane = w * w_stride - left
        taps = (
            rows, s_size, at, h_dilation * w_size, 0, lane, w_dilation, w_size, h_size * w_size
        )  # fmt: skip
        target = ((plane * h_out + h) * w_out, w, w_out, h_out * w_out)
        fits = whole(lane, lane + (s_size - 1) * w_dilation, lanes, w_stride, w_size, w, w_out)
        if where is None and vectors == VECTORS and pairs:
            if s_size == 2:
                done = _two_wide(x, taps, x, 0, y, target)
            else:
                done = _three_wide(x, taps, x, 0, y, target)
            if done:
                continue  # else NaN was met: the loops below put it where it belongs
        if vectors == VECTORS and w_stride == 1:
            if fits:
                _many(x, taps, 1, numbers, firsts, 0, y, where, target)
            else:
                _many_masked(x, taps, 1, numbers, firsts, _ZEROS + w, y, where, target)
        elif vectors == VECTORS and w_stride == 2:
            if fits:
                _seconds(x, taps, 2, numbers, firsts, 0, y, where, target)
            else:
                _seconds_masked(x, taps, 2, numbers, firsts, _ZEROS + w, y, where, target)
        elif w_stride == 1:
            _one_masked(x, taps, 1, numbers, firsts, _ZEROS + w, y, where, target)
        elif w_stride == 2:
            _second_masked(x, taps, 2, numbers, firsts, _ZEROS + w, y, where, target)
        else:
            for v in range(vectors):
                _far_masked(
                    x, (*taps[:2], at + v * taps[8], *taps[3:]), w_stride, numbers, firsts,
                    _ZEROS + w, y, where, (target[0] + v * target[3], *target[1:]),
                )  # fmt: skip


@kernel
def _last_line(x, y, where, rows_read, w_reads, firsts, plane, h, channels, height, width):
    """The channels [low, high) of line h of an image.

    Numbers are compared first; where NaN was met among them, the exact loop puts it in its place.
    """
    lanes = _LANE_BYTES // x.itemsize
    (_, _, h_dilation, _, h_size, h_out) = height
    (s_size, _, w_dilation, _, w_size, w_out) = width
    r_first, rows, row = rows_read
    run, low, high = channels
    start = (plane * h_size + row) * w_size * run
    steps = (h_dilation * w_size * run, w_dilation * run)
    for w in range(w_out):
        s_first, columns, column = w_reads[w]
        numbers = (r_first * s_size + s_first, s_size, 1)
        at, to = start + column * run, ((plane * h_out + h) * w_out + w) * run
        c = low
        while c < high:
            taps = (rows, columns, at, *steps, c, 0, run, lanes)
            target = (to, c, run, lanes)
            if c + VECTORS * lanes <= high:
                if not _many_ordered(x, taps, 1, numbers, firsts, 0, y, where, target):
                    _many(x, taps, 1, numbers, firsts, 0, y, where, target)
                c += VECTORS * lanes
                continue
            if c + lanes <= high:
                if not _one_ordered(x, taps, 1, numbers, firsts, 0, y, where, target):
                    _one(x, taps, 1, numbers, firsts, 0, y, where, target)
            else:
                _one_masked(x, taps, 1, numbers, firsts, 0, y, where, target)
            c += lanes


def maximum(x: Array, geometry: Geometry, threads: int) -> tuple[Array, Array]:
    """The maximum of every window, and the number of the kernel cell it was found at.

    Args:
        x: (N, C, H, W), any strides.
        geometry: Two windows (the channels do not matter).
        threads: Threads to use.

    Returns:
        y and the cell numbers r S + s, both (N, C, H', W') in x's memory order; the numbers are
        uint8 for kernels of up to 256 cells, else int32.
    """
    last = is_channels_last(x)
    shape, useful, fixed, dtype = _call(geometry, x.shape, last)
    y_line, y = blank(shape, x.dtype, last)
    where_line, where = blank(shape, dtype, last)
    if y.size:
        threads = min(threads, useful)
        given = in_line(x, last), y_line, where_line
        launch(_maximum_part, threads, *given, *fixed)
    return y, where


def maximum_only(x: Array, geometry: Geometry, threads: int) -> Array:
    """The maximum of every window alone: what inference needs."""
    last = is_channels_last(x)
    shape, team, useful, fixed = _call_only(geometry, x.shape, last, x.itemsize)
    line, y = blank(shape, x.dtype, last)
    if y.size:
        launch(team, min(threads, useful), in_line(x, last), line, *fixed)
    return y


@lru_cache(maxsize=1024)
def _call_only(
    geometry: Geometry, shape: tuple[int, int, int, int], last: bool, itemsize: int
) -> tuple[Any, ...]:
    """The shape of y, the kernel, threads worth starting, and the kernel's arguments."""
    table = None if last else flat(geometry, (shape[2], shape[3]), itemsize)
    if table is not None:
        count, size = prod(shape[:2]), prod(shape[2:])
        useful = teams(prod(shape) * prod(geometry.kernel), True)
        return shape, flat_part, useful, (None, *table, count, size)
    y_shape, useful, fixed, _ = _call(geometry, shape, last)
    return y_shape, _maximum_part, useful, (None, *fixed)


@lru_cache(maxsize=1024)
def _call(geometry: Geometry, shape: tuple[int, int, int, int], last: bool) -> tuple[Any, ...]:
    """The shape of y, threads worth starting, the kernel's arguments, and the numbers' dtype."""
    spatial = shape[2], shape[3]
    outputs, tables, both = forward(geometry, spatial)
    y_shape = (*shape[:2], *outputs)
    cells = prod(geometry.kernel)
    dtype = np.uint8 if cells <= 256 else np.int32
    fixed = *tables, firsts(geometry, spatial, dtype), *planes(shape, last), *both
    return y_shape, teams(prod(y_shape) * cells, last), fixed, dtype
