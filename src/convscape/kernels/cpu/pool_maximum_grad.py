"""Maximum pooling backward, and the derivative of that.

An input cell gathers dy from the windows that cover it and found their maximum there, and is
written once, so threads never meet. In plain memory a line's cells of one phase (their position
modulo the stride) meet neighbouring outputs: each phase is a line of vectors, and the phases are
interleaved at the end.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, blank, empty, is_channels_last
from convscape.kernels.cpu.pool_axes import (
    CHUNK,
    backward,
    forward,
    in_line,
    interleave,
    planes,
    teams,
    whole,
)  # fmt: skip
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import chosen_lanes
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_LANE_BYTES = SIMD.bits // 8
_SHORT = 48  # outputs of a line up to which a plane is scattered in one loop

_many = chosen_lanes(Shape(VECTORS, 1, whole=True))
_many_masked = chosen_lanes(Shape(VECTORS, 1, whole=False))
_one = chosen_lanes(Shape(1, 1, whole=True))
_one_masked = chosen_lanes(Shape(1, 1, whole=False))


@team
def _gather_part(
    part, parts, dy, where, dx, h_gives, w_gives, line_phases, count, run, height, width, steps
):  # fmt: skip
    if divide(part, parts):
        return
    (_, _, _, _, h_size, h_out) = height
    (_, w_stride, _, _, w_size, _) = width
    group = VECTORS if run == 1 else 1
    groups = (count + group - 1) // group
    chunks = (run + CHUNK - 1) // CHUNK
    jobs = groups * h_size * chunks
    room = (w_size + w_stride - 1) // w_stride
    split = np.empty(VECTORS * w_stride * room, dy.dtype)
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        line, chunk = divmod(job, chunks)
        first, h = divmod(line, h_size)
        if run == 1:
            first, last = first * group, min((first + 1) * group, count)
            together = VECTORS if last - first == VECTORS else 1
            for plane in range(first, last, together):
                to = (plane * h_size + h) * w_size
                out = (dx, to, h_size * w_size, w_size) if w_stride == 1 else (
                    split, 0, w_stride * room, room
                )  # fmt: skip
                _plain_line(
                    dy, where, out, h_gives[h], line_phases, plane * h_out, together,
                    h_out, width, steps,
                )  # fmt: skip
                if w_stride > 1:
                    for v in range(together):
                        start = to + v * h_size * w_size
                        interleave(
                            split[v * w_stride * room : (v + 1) * w_stride * room],
                            w_stride, room, dx[start : start + w_size],
                        )  # fmt: skip
        else:
            channels = (run, chunk * CHUNK, min((chunk + 1) * CHUNK, run))
            _last_line(
                dy, where, dx, h_gives[h], w_gives, first * h_out, (first * h_size + h) * w_size,
                channels, width, steps,
            )  # fmt: skip


@kernel
def _plain_line(dy, where, out, rows_met, line_phases, above, vectors, h_out, width, steps):
    """One line of a plane, or of several together, phase after phase."""
    lanes = _LANE_BYTES // dy.itemsize
    (s_size, w_stride, _, _, _, w_out) = width
    r_step, h_fall, s_step, w_fall = steps
    r_first, rows, o = rows_met
    to, start, jump, room = out
    for phase in range(w_stride):
        s_first, columns, shift = line_phases[phase]
        numbers = (r_first * s_size + s_first, r_step * s_size, s_step)
        for k in range(0, room, lanes):
            lane = shift + k
            taps = (
                rows, columns, (above + o) * w_out, -h_fall * w_out, 0, lane, -w_fall, w_out,
                h_out * w_out,
            )  # fmt: skip
            target = (start + phase * room, k, room, jump)
            if vectors == 1:
                _one_masked(dy, where, taps, numbers, to, target)
            elif whole(lane - (columns - 1) * w_fall, lane, lanes, 1, w_out, k, room):
                _many(dy, where, taps, numbers, to, target)
            else:
                _many_masked(dy, where, taps, numbers, to, target)


@kernel
def _last_line(dy, where, dx, rows_met, w_gives, above, to, channels, width, steps):
    """The channels [low, high) of one line of an image."""
    lanes = _LANE_BYTES // dy.itemsize
    (s_size, _, _, _, w_size, w_out) = width
    r_step, h_fall, s_step, w_fall = steps
    r_first, rows, o = rows_met
    run, low, high = channels
    start = (above + o) * w_out * run
    falls = (-h_fall * w_out * run, -w_fall * run)
    for w in range(w_size):
        s_first, columns, o = w_gives[w]
        numbers = (r_first * s_size + s_first, r_step * s_size, s_step)
        c = low
        while c < high:
            taps = (rows, columns, start + o * run, *falls, c, 0, run, lanes)
            target = ((to + w) * run, c, run, lanes)
            if c + VECTORS * lanes <= high:
                _many(dy, where, taps, numbers, dx, target)
                c += VECTORS * lanes
                continue
            if c + lanes <= high:
                _one(dy, where, taps, numbers, dx, target)
            else:
                _one_masked(dy, where, taps, numbers, dx, target)
            c += lanes


@team
def _scatter_part(part, parts, dy, where, dx, offsets, starts, count, height, width):
    """Plane after plane: every output adds its dy where its maximum was."""
    if divide(part, parts):
        return
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (_, w_stride, _, left, w_size, w_out) = width
    size, outputs = h_size * w_size, h_out * w_out
    for plane in range(count * part // parts, count * (part + 1) // parts):
        out = dx[plane * size : (plane + 1) * size]
        if len(starts):
            for i in range(size):
                out[i] = 0
            given = dy[plane * outputs : (plane + 1) * outputs]
            cell = where[plane * outputs : (plane + 1) * outputs]
            for o in range(outputs):
                out[np.uint64(starts[o] + offsets[cell[o]])] += given[o]
            continue
        ready = 0  # cells that are zeroed: no more than the next outputs need, to stay in the cache
        for h in range(h_out):
            row = h * h_stride - top
            reach = size
            if h + 1 < h_out:
                reach = min(size, (row + (r_size - 1) * h_dilation + 1) * w_size)
            fresh = out[ready:reach]
            for i in range(len(fresh)):
                fresh[i] = 0
            ready = max(ready, reach)
            at = plane * outputs + h * w_out
            given, cell = dy[at : at + w_out], where[at : at + w_out]
            start = row * w_size - left
            for w in range(w_out):
                out[np.uint64(start + w * w_stride + offsets[cell[w]])] += given[w]


@team
def _pick_part(part, parts, x, where, y, count, run, height, width):
    """y[o] = x[the cell where the maximum was]: the maximum's derivative, applied to x."""
    if divide(part, parts):
        return
    (_, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = count * h_out
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_out)
        for w in range(w_out):
            for c in range(run):
                at = (line * w_out + w) * run + c
                r, s = divmod(np.int64(where[at]), s_size)
                row = h * h_stride - top + r * h_dilation
                column = w * w_stride - left + s * w_dilation
                inside = 0 <= row < h_size and 0 <= column < w_size
                y[at] = x[((plane * h_size + row) * w_size + column) * run + c] if inside else 0


def maximum_grad(
    dy: Array, where: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input: dy goes to the cell that was the maximum.

    Args:
        dy: (N, C, H', W').
        where: The cell numbers of `maximum`.
        geometry: The pooling windows.
        spatial: (H, W) of the forward input.
        threads: Threads to use.

    Returns:
        (N, C, H, W) in the memory order of `where`.
    """
    last = is_channels_last(where)
    line, dx = blank((*dy.shape[:2], *spatial), dy.dtype, last)
    if dx.size:
        team, useful, fixed = _call(geometry, dx.shape, last)
        arrays = in_line(dy, last), in_line(where, last), line
        launch(team, min(threads, useful), *arrays, *fixed)
    return dx


@lru_cache(maxsize=1024)
def _call(geometry: Geometry, shape: tuple[int, int, int, int], last: bool) -> tuple[Any, ...]:
    """The kernel, the threads worth starting, and the kernel's arguments."""
    spatial = shape[2], shape[3]
    tables, both, steps = backward(geometry, spatial)
    count, run = planes(shape, last)
    outputs = prod(geometry.outputs(spatial))
    if not last and count >= 8 and _all_real(geometry, spatial):
        fixed = _offsets(geometry, spatial[1]), _starts(geometry, spatial), count, *both
        return _scatter_part, teams(prod(shape) // 4 + outputs * count, last), fixed
    useful = teams(prod(shape[:2]) * outputs * prod(geometry.kernel) + prod(shape), last)
    return _gather_part, useful, (*tables, count, run, *both, steps)


def pick(x: Array, where: Array, geometry: Geometry, threads: int) -> Array:
    """Values at the cells where the maximum was: the adjoint of `maximum_grad`.

    Args:
        x: (N, C, H, W).
        where: The cell numbers of `maximum`.
        geometry: The pooling windows.
        threads: Threads to use.

    Returns:
        (N, C, H', W') in the memory order of `where`.
    """
    last = is_channels_last(where)
    y = empty(where.shape, x.dtype, last)
    if y.size:
        launch(
            _pick_part, threads,
            in_line(x, last), in_line(where, last), in_line(y, last),
            *planes(x.shape, last), *forward(geometry, x.shape[2:])[2],
        )  # fmt: skip
    return y


@lru_cache(maxsize=256)
def _all_real(geometry: Geometry, spatial: tuple[int, int]) -> bool:
    """Whether every window has a real cell, so that every number stands for one."""
    return all(table[:, 1].all() for table in forward(geometry, spatial)[1])


@lru_cache(maxsize=256)
def _offsets(geometry: Geometry, columns: int) -> Array:
    """How far a kernel cell is from the window's first, in a plane of so many columns."""
    h, w = geometry.windows
    rows = np.arange(h.kernel)[:, None] * h.dilation * columns
    offsets: Array = (rows + np.arange(w.kernel) * w.dilation).reshape(-1)
    return offsets


@lru_cache(maxsize=256)
def _starts(geometry: Geometry, spatial: tuple[int, int]) -> Array:
    """Where each window starts in its plane; empty for long lines, which need no table."""
    h_out, w_out = geometry.outputs(spatial)
    if w_out > _SHORT:
        return np.empty(0, np.int64)
    h, w = geometry.windows
    rows = (np.arange(h_out)[:, None] * h.stride - h.padding[0]) * spatial[1]
    starts: Array = (rows + np.arange(w_out) * w.stride - w.padding[0]).reshape(-1)
    return starts
