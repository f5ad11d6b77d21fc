"""Average pooling backward: every cell of a window gets its share of dy.

An input cell gathers from the windows that cover it. Where those count differently, the outputs'
lines that a line of cells meets are first added up, each output with its share, in a buffer. In
plain memory a line's cells of one phase (their position modulo the stride) meet neighbouring
outputs.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, is_channels_last
from convscape.kernels.cpu.pool_average import shares
from convscape.kernels.cpu.pool_axes import (
    CHUNK,
    backward,
    filled,
    interleave,
    planes,
    teams,
    whole,
)  # fmt: skip
from convscape.kernels.cpu.pool_flat import flat, flat_part, spread
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import total_lanes, total_pairs
from convscape.kernels.cpu.simd import SIMD

_LANE_BYTES = SIMD.bits // 8

_many = total_lanes(Shape(VECTORS, 1, whole=True))
_many_masked = total_lanes(Shape(VECTORS, 1, whole=False))
_one = total_lanes(Shape(1, 1, whole=True))
_one_masked = total_lanes(Shape(1, 1, whole=False))
_pairs = total_pairs(Shape(VECTORS, 1, whole=True))
_pairs_masked = total_pairs(Shape(VECTORS, 1, whole=False))
_pair_masked = total_pairs(Shape(1, 1, whole=False))


@team
def _grad_part(
    part, parts, dy, dx, h_gives, w_gives, line_phases, row_shares, column_shares, even, count,
    run, height, width, falls,
):  # fmt: skip
    if divide(part, parts):
        return
    (_, _, _, _, h_size, h_out) = height
    (_, w_stride, _, _, w_size, w_out) = width
    h_fall, w_fall = falls
    group = VECTORS if run == 1 else 1
    groups = (count + group - 1) // group
    chunks = (run + CHUNK - 1) // CHUNK
    jobs = groups * h_size * chunks
    room = (w_size + w_stride - 1) // w_stride
    split = np.empty(VECTORS * w_stride * room, dy.dtype)
    added = np.empty(w_out * max(VECTORS, min(run, CHUNK)), dy.dtype)
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        line, chunk = divmod(job, chunks)
        first, h = divmod(line, h_size)
        _, rows, o = h_gives[h]
        if run > 1:
            low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, run)
            start = (first * h_out + o) * w_out * run
            to = ((first * h_size + h) * w_size * run + low, run)
            if even:
                source = (rows, start + low, -h_fall * w_out * run, run, high - low)
                share = row_shares[0] * column_shares[0]
                _last_line_grad(dy, source, share, dx, to, w_gives, w_size, w_fall)
            else:
                added[:] = 0
                for i in range(rows):
                    at = start - i * h_fall * w_out * run
                    _add_shares(
                        dy[at : at + w_out * run], run, low, high, row_shares[o - i * h_fall],
                        column_shares, added,
                    )  # fmt: skip
                source = (1, 0, 0, high - low, high - low)
                share = dy.dtype.type(1)
                _last_line_grad(added, source, share, dx, to, w_gives, w_size, w_fall)
            continue
        first, last = first * group, min((first + 1) * group, count)
        together = VECTORS if last - first == VECTORS else 1
        for plane in range(first, last, together):
            to = (plane * h_size + h) * w_size
            start = (plane * h_out + o) * w_out
            out = (dx, to, h_size * w_size, w_size) if w_stride <= 2 else (
                split, 0, w_stride * room, room
            )  # fmt: skip
            if even:
                source = (rows, start, -h_fall * w_out, h_out * w_out, w_out)
                share = row_shares[0] * column_shares[0]
                _plain_line_grad(dy, source, share, out, line_phases, together, w_stride, w_fall)
            else:
                added[:] = 0
                for v in range(together):
                    for i in range(rows):
                        at = start + (v * h_out - i * h_fall) * w_out
                        _add_shares(
                            dy[at : at + w_out], 1, 0, 1, row_shares[o - i * h_fall],
                            column_shares, added[v * w_out : (v + 1) * w_out],
                        )  # fmt: skip
                source = (1, 0, 0, w_out, w_out)
                share = dy.dtype.type(1)
                _plain_line_grad(added, source, share, out, line_phases, together, w_stride, w_fall)
            if w_stride > 2:
                for v in range(together):
                    start = to + v * h_size * w_size
                    interleave(
                        split[v * w_stride * room : (v + 1) * w_stride * room],
                        w_stride, room, dx[start : start + w_size],
                    )  # fmt: skip


@kernel
def _add_shares(line, run, low, high, row_share, column_shares, added):
    """Add a line of dy, its channels [low, high), to a buffer, each output with its share."""
    if run == 1:
        for w in range(len(line)):
            added[w] += line[w] * (row_share * column_shares[w])
        return
    for w in range(len(column_shares)):
        given = line[w * run + low : w * run + high]
        taken = added[w * (high - low) : (w + 1) * (high - low)]
        share = row_share * column_shares[w]
        for c in range(len(given)):
            taken[c] += given[c] * share


@kernel
def _plain_line_grad(given, source, share, out, line_phases, vectors, w_stride, w_fall):
    """One line of a plane, or of several together, phase after phase."""
    lanes = _LANE_BYTES // given.itemsize
    rows, at, row_step, jump, w_out = source
    to, start, out_jump, room = out
    if w_stride == 2:
        _, columns, shift = line_phases[0]
        _, odd_columns, odd_shift = line_phases[1]
        falls = max(columns, odd_columns) * w_fall
        for k in range(0, (room + 1) // 2, lanes):
            even = (rows, columns, at, row_step, 0, shift + k, -w_fall, w_out, jump)
            odd = (rows, odd_columns, at, row_step, 0, odd_shift + k, -w_fall, w_out, jump)
            target = (start, 2 * k, room, out_jump)
            low, high = min(shift, odd_shift) + k - falls, max(shift, odd_shift) + k
            if vectors == 1:
                _pair_masked(given, even, odd, share, to, target)
            elif whole(low, high, lanes, 1, w_out, 2 * k + lanes, room):
                _pairs(given, even, odd, share, to, target)
            else:
                _pairs_masked(given, even, odd, share, to, target)
        return
    for phase in range(w_stride):
        _, columns, shift = line_phases[phase]
        for k in range(0, room, lanes):
            lane = shift + k
            taps = (rows, columns, at, row_step, 0, lane, -w_fall, w_out, jump)
            target = (start + phase * room, k, room, out_jump)
            if vectors == 1:
                _one_masked(given, taps, 1, share, 0, to, target)
            elif whole(lane - (columns - 1) * w_fall, lane, lanes, 1, w_out, k, room):
                _many(given, taps, 1, share, 0, to, target)
            else:
                _many_masked(given, taps, 1, share, 0, to, target)


@kernel
def _last_line_grad(given, source, share, dx, to, w_gives, w_size, w_fall):
    """Some channels of one line of an image."""
    lanes = _LANE_BYTES // given.itemsize
    rows, at, row_step, apart, wide = source
    start, run = to
    for w in range(w_size):
        _, columns, o = w_gives[w]
        c = 0
        while c < wide:
            taps = (rows, columns, at + o * apart, row_step, -w_fall * apart, c, 0, wide, lanes)
            target = (start + w * run, c, wide, lanes)
            if c + VECTORS * lanes <= wide:
                _many(given, taps, 1, share, 0, dx, target)
                c += VECTORS * lanes
                continue
            if c + lanes <= wide:
                _one(given, taps, 1, share, 0, dx, target)
            else:
                _one_masked(given, taps, 1, share, 0, dx, target)
            c += lanes


def average_grad(
    dy: Array,
    geometry: Geometry,
    divisors: tuple[Array, Array],
    spatial: tuple[int, int],
    threads: int,
) -> Array:
    """The gradient by the input: every cell of a window gets its share of dy.

    Args:
        dy: (N, C, H', W'), any strides.
        geometry: The pooling windows.
        divisors: As in `average`.
        spatial: (H, W) of the forward input.
        threads: Threads to use.

    Returns:
        (N, C, H, W) in dy's memory order.
    """
    last = is_channels_last(dy)
    known = tuple(np.asarray(d, float).tobytes() for d in divisors)
    call = bind_average_grad(geometry, dy.shape, last, dy.dtype, known, tuple(spatial), threads)
    (dx,) = filled(call, last, dy)
    return dx


@lru_cache(maxsize=1024)
def bind_average_grad(
    geometry: Geometry, shape: tuple[int, ...], last: bool, dtype: np.dtype[Any],
    divisors: tuple[bytes, ...], spatial: tuple[int, int], threads: int,
) -> Bound:  # fmt: skip
    """`average_grad`, as `convscape.kernels.cpu.pool_average.bind_average`, of dy and dx."""
    result = Result.of((*shape[:2], *spatial), dtype, last)
    size = prod(result.shape)
    if size == 0:
        return Bound((result,), None)
    useful, before, after, table = _call(geometry, result.shape, last, dtype.itemsize)
    rows, columns, even = shares(divisors, dtype)
    given = lies_at(0, prod(shape), dtype), lies_at(1, size, dtype)
    if table is not None and even:
        share = spread(rows.tobytes(), columns.tobytes(), dtype)
        threads = min(threads, teams(size * prod(geometry.kernel), True))
        return Bound((result,), Launch(flat_part, threads, *given, share, *table))
    fixed = *before, rows, columns, even, *after
    return Bound((result,), Launch(_grad_part, min(threads, useful), *given, *fixed))


def _call(geometry: Geometry, shape: tuple[int, ...], last: bool, itemsize: int) -> tuple[Any, ...]:
    """The threads worth starting, and the kernel's arguments around the shares.

    And those of `flat_part` behind the share, which serves where all count the same; or None.
    """
    spatial = shape[2], shape[3]
    tables, both, (_, h_fall, _, w_fall) = backward(geometry, spatial)
    outputs = prod(shape[:2]) * prod(geometry.outputs(spatial))
    useful = teams(outputs * prod(geometry.kernel) + prod(shape), last)
    table = None if last else flat(geometry, spatial, itemsize, back=True)
    every = None if table is None else (*table, prod(shape[:2]), prod(spatial))
    return useful, tables, (*planes(shape, last), *both, (h_fall, w_fall)), every
