"""Maximum pooling: y[h, w] = max over the real cells of window (h, w); NaN wins.

Where a maximum was found is kept as the kernel cell's number, in one byte for kernels of up to 256
cells; where no gradient will be asked for it is not kept.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import inlined, kernel, team
from convscape.kernels.cpu.layout import Array, is_channels_last
from convscape.kernels.cpu.pool_axes import (
    CHUNK,
    filled,
    firsts,
    forward,
    planes,
    teams,
    whole,
)  # fmt: skip
from convscape.kernels.cpu.pool_flat import flat, flat_part
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import maximum_lanes
from convscape.kernels.cpu.pool_pairs import pairs_lanes
from convscape.kernels.cpu.simd import SIMD

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
    y, where = filled(bind_maximum(geometry, x.shape, last, x.dtype, threads), last, x)
    return y, where


def maximum_only(x: Array, geometry: Geometry, threads: int) -> Array:
    """The maximum of every window alone: what inference needs."""
    last = is_channels_last(x)
    (y,) = filled(bind_maximum_only(geometry, x.shape, last, x.dtype, threads), last, x)
    return y


@lru_cache(maxsize=1024)
def bind_maximum(
    geometry: Geometry, shape: tuple[int, ...], last: bool, dtype: np.dtype[Any], threads: int
) -> Bound:
    """`maximum` where all but the addresses is known.

    Args:
        geometry: Two windows.
        shape: Of x.
        last: Whether it lies in channels-last memory, else in plain order, without gaps.
        dtype: Its element type.
        threads: Threads to use.

    Returns:
        What to call with the addresses of x, y and the numbers.
    """
    cells = np.dtype(np.uint8 if prod(geometry.kernel) <= 256 else np.int32)
    y_shape, useful, fixed = _call(geometry, shape, last, cells)
    results = Result.of(y_shape, dtype, last), Result.of(y_shape, cells, last)
    size = prod(y_shape)
    given = lies_at(0, prod(shape), dtype), lies_at(1, size, dtype), lies_at(2, size, cells)
    return Bound(results, Launch(_maximum_part, min(threads, useful), *given, *fixed))


@lru_cache(maxsize=1024)
def bind_maximum_only(
    geometry: Geometry, shape: tuple[int, ...], last: bool, dtype: np.dtype[Any], threads: int
) -> Bound:
    """`maximum_only`, as `bind_maximum`; to be called with the addresses of x and y."""
    table = None if last else flat(geometry, (shape[2], shape[3]), dtype.itemsize)
    if table is None:
        y_shape, useful, fixed = _call(geometry, shape, last, np.dtype(np.uint8))
        team: Any = _maximum_part
    else:
        y_shape, team = shape, flat_part
        useful = teams(prod(shape) * prod(geometry.kernel), True)
        fixed = *table, prod(shape[:2]), prod(shape[2:])
    given = lies_at(0, prod(shape), dtype), lies_at(1, prod(y_shape), dtype)
    return Bound(
        (Result.of(y_shape, dtype, last),),
        Launch(team, min(threads, useful), *given, None, *fixed),
    )


def _call(
    geometry: Geometry, shape: tuple[int, ...], last: bool, numbers: np.dtype[Any]
) -> tuple[Any, ...]:
    """The shape of y, threads worth starting, and the kernel's arguments."""
    spatial = shape[2], shape[3]
    outputs, tables, both = forward(geometry, spatial)
    y_shape = (*shape[:2], *outputs)
    fixed = *tables, firsts(geometry, spatial, numbers), *planes(shape, last), *both
    return y_shape, teams(prod(y_shape) * prod(geometry.kernel), last), fixed
