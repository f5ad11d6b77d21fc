"""Average pooling: y[h, w] = (sum of window (h, w)'s real cells) / (number of cells that count)."""

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
    forward,
    planes,
    teams,
    whole,
)  # fmt: skip
from convscape.kernels.cpu.pool_flat import flat, flat_part, spread
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import total_lanes
from convscape.kernels.cpu.pool_pairs import pairs_lanes
from convscape.kernels.cpu.pool_whole import whole_planes
from convscape.kernels.cpu.simd import SIMD

_LANE_BYTES = SIMD.bits // 8

_many = total_lanes(Shape(VECTORS, 1, whole=True))
_many_masked = total_lanes(Shape(VECTORS, 1, whole=False))
_one = total_lanes(Shape(1, 1, whole=True))
_one_masked = total_lanes(Shape(1, 1, whole=False))
_second_masked = total_lanes(Shape(1, 2, whole=False))
_far_masked = total_lanes(Shape(1, 0, whole=False))
_two_wide, _three_wide = (pairs_lanes(columns, largest=False) for columns in (2, 3))


@team
def _average_part(
    part, parts, x, y, h_reads, w_reads, row_shares, column_shares, count, run, height, width
):  # fmt: skip
    if divide(part, parts):
        return
    lanes = _LANE_BYTES // x.itemsize
    h_out, w_out = height[-1], width[-1]
    group = VECTORS if run == 1 else 1
    groups = (count + group - 1) // group
    chunks = (run + CHUNK - 1) // CHUNK
    jobs = groups * h_out * chunks
    share = np.zeros(w_out + lanes, x.dtype)
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        line, chunk = divmod(job, chunks)
        first, h = divmod(line, h_out)
        if run == 1:
            for w in range(w_out):
                share[w] = row_shares[h] * column_shares[w]
            first, last = first * group, min((first + 1) * group, count)
            together = VECTORS if last - first == VECTORS else 1
            for plane in range(first, last, together):
                _plain_line(x, y, h_reads[h], share, plane, h, together, height, width)
        else:
            channels = (run, chunk * CHUNK, min((chunk + 1) * CHUNK, run))
            shares = (row_shares[h], column_shares)
            _last_line(x, y, h_reads[h], w_reads, shares, first, h, channels, height, width)


@inlined
def _plain_line(x, y, rows_read, share, plane, h, vectors, height, width):
    """Line h of one plane, or of several together."""
    lanes = _LANE_BYTES // x.itemsize
    (_, _, h_dilation, _, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    _, rows, row = rows_read
    at, to = (plane * h_size + row) * w_size, (plane * h_out + h) * w_out
    near = w_dilation == 1
    for w in range(0, w_out, lanes):
        lane = w * w_stride - left
        taps = (
            rows, s_size, at, h_dilation * w_size, 0, lane, w_dilation, w_size, h_size * w_size
        )  # fmt: skip
        target = (to, w, w_out, h_out * w_out)
        fits = whole(lane, lane + (s_size - 1) * w_dilation, lanes, w_stride, w_size, w, w_out)
        if vectors == VECTORS and w_stride == 1:
            if fits:
                _many(x, taps, 1, share, w, y, target)
            else:
                _many_masked(x, taps, 1, share, w, y, target)
        elif vectors == VECTORS and w_stride == 2 and s_size == 2 and near:
            _two_wide(x, taps, share, w, y, target)
        elif vectors == VECTORS and w_stride == 2 and s_size == 3 and near:
            _three_wide(x, taps, share, w, y, target)
        elif vectors == 1 and w_stride == 1:
            _one_masked(x, taps, 1, share, w, y, target)
        else:
            for v in range(vectors):
                one = (*taps[:2], at + v * taps[8], *taps[3:])
                place = (to + v * target[3], *target[1:])
                if w_stride == 2:
                    _second_masked(x, one, 2, share, w, y, place)
                else:
                    _far_masked(x, one, w_stride, share, w, y, place)


@kernel
def _last_line(x, y, rows_read, w_reads, shares, plane, h, channels, height, width):
    """The channels [low, high) of line h of an image."""
    lanes = _LANE_BYTES // x.itemsize
    (_, _, h_dilation, _, h_size, h_out) = height
    (_, _, w_dilation, _, w_size, w_out) = width
    _, rows, row = rows_read
    row_share, column_shares = shares
    run, low, high = channels
    start = (plane * h_size + row) * w_size * run
    steps = (h_dilation * w_size * run, w_dilation * run)
    for w in range(w_out):
        _, columns, column = w_reads[w]
        share = row_share * column_shares[w]
        at, to = start + column * run, ((plane * h_out + h) * w_out + w) * run
        c = low
        while c < high:
            taps = (rows, columns, at, *steps, c, 0, run, lanes)
            target = (to, c, run, lanes)
            if c + VECTORS * lanes <= high:
                _many(x, taps, 1, share, 0, y, target)
                c += VECTORS * lanes
                continue
            if c + lanes <= high:
                _one(x, taps, 1, share, 0, y, target)
            else:
                _one_masked(x, taps, 1, share, 0, y, target)
            c += lanes


def average(x: Array, geometry: Geometry, divisors: tuple[Array, Array], threads: int) -> Array:
    """The average of every window.

    Args:
        x: (N, C, H, W), any strides.
        geometry: Two windows.
        divisors: What to divide by, as a factor for each output row and each output column.
        threads: Threads to use.

    Returns:
        (N, C, H', W') in x's memory order.
    """
    last = is_channels_last(x)
    known = tuple(np.asarray(d, float).tobytes() for d in divisors)
    (y,) = filled(bind_average(geometry, x.shape, last, x.dtype, known, threads), last, x)
    return y


@lru_cache(maxsize=1024)
def bind_average(
    geometry: Geometry, shape: tuple[int, ...], last: bool, dtype: np.dtype[Any],
    divisors: tuple[bytes, ...], threads: int,
) -> Bound:  # fmt: skip
    """`average`, as `convscape.kernels.cpu.pool_maximum.bind_maximum`, told where x and y lie.

    The divisors are the bytes of float64.
    """
    result = Result.of((*shape[:2], *geometry.outputs((shape[2], shape[3]))), dtype, last)
    if 0 in result.shape:
        return Bound((result,), None)
    team, useful, before, after = _call(geometry, shape, last, dtype.itemsize)
    rows, columns, _ = shares(divisors, dtype)
    if team is _average_part:
        weights: tuple[Any, ...] = rows, columns
    elif team is flat_part:
        weights = (spread(rows.tobytes(), columns.tobytes(), dtype),)
    else:
        weights = (rows[0] * columns[0],)
    given = lies_at(0, prod(shape), dtype), lies_at(1, prod(result.shape), dtype)
    launch = Launch(team, min(threads, useful), *given, *before, *weights, *after)
    return Bound((result,), launch)


def _call(geometry: Geometry, shape: tuple[int, ...], last: bool, itemsize: int) -> tuple[Any, ...]:
    """The kernel, threads worth starting, and its arguments around the shares."""
    spatial = shape[2], shape[3]
    outputs, tables, both = forward(geometry, spatial)
    y_shape = (*shape[:2], *outputs)
    work = prod(y_shape) * prod(geometry.kernel)
    if outputs == (1, 1) and all(
        table[0, 1] == n for table, n in zip(tables, spatial, strict=True)
    ):
        team, sizes = whole_planes(shape, last)
        return team, teams(work, last), (), sizes
    table = None if last else flat(geometry, spatial, itemsize)
    if table is not None:
        after = *table, prod(shape[:2]), prod(spatial)
        return flat_part, teams(work, True), (), after
    after = *planes(shape, last), *both
    return _average_part, teams(work, last), tables, after


def shares(divisors: tuple[bytes, ...], dtype: Any) -> tuple[Array, Array, bool]:
    """What one cell counts in the average, as a factor for each output row and column.

    And whether all count the same.
    """
    factors = [np.reciprocal(np.frombuffer(d)).astype(dtype) for d in divisors]
    return factors[0], factors[1], all((f == f[0]).all() for f in factors)
