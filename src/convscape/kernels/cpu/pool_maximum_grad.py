"""Maximum pooling backward, and the derivative of that.

In channels-last memory an input cell gathers dy from the windows that cover it and found their
maximum there, and is written once, so threads never meet. Plain memory has a file of its own for
the usual windows (`pool_maximum_lines`); for others, every output adds its dy where its maximum
was.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, is_channels_last
from convscape.kernels.cpu.pool_axes import (
    CHUNK,
    backward,
    filled,
    forward,
    in_line,
    planes,
    teams,
)  # fmt: skip
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import chosen_lanes
from convscape.kernels.cpu.pool_maximum_lines import lines_part, serves
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch

_LANE_BYTES = SIMD.bits // 8

_many = chosen_lanes(Shape(VECTORS, 1, whole=True))
_one = chosen_lanes(Shape(1, 1, whole=True))
_one_masked = chosen_lanes(Shape(1, 1, whole=False))


@team
def _gather_part(part, parts, dy, where, dx, h_gives, w_gives, count, run, height, width, steps):
    """Some channels of a line of an image at a time."""
    if divide(part, parts):
        return
    (_, _, _, _, h_size, h_out) = height
    w_size = width[4]
    chunks = (run + CHUNK - 1) // CHUNK
    jobs = count * h_size * chunks
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        line, chunk = divmod(job, chunks)
        image, h = divmod(line, h_size)
        channels = (run, chunk * CHUNK, min((chunk + 1) * CHUNK, run))
        _line(
            dy, where, dx, h_gives[h], w_gives, image * h_out, (image * h_size + h) * w_size,
            channels, width, steps,
        )  # fmt: skip


@kernel
def _line(dy, where, dx, rows_met, w_gives, above, to, channels, width, steps):
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
def _scatter_part(part, parts, dy, where, dx, offsets, rows, columns, count, sizes):
    """Plane after plane: every output adds its dy where its maximum was."""
    if divide(part, parts):
        return
    size, outputs = sizes
    for plane in range(count * part // parts, count * (part + 1) // parts):
        out = dx[plane * size : (plane + 1) * size]
        given = dy[plane * outputs : (plane + 1) * outputs]
        cell = where[plane * outputs : (plane + 1) * outputs]
        out[:] = 0
        for h in range(len(rows)):
            for w in range(len(columns)):
                o = np.uint64(rows[h, 0] + columns[w, 0])
                out[np.uint64(rows[h, 1] + columns[w, 1] + offsets[cell[o]])] += given[o]


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
    call = bind_maximum_grad(
        geometry, where.shape, last, dy.dtype, where.dtype, tuple(spatial), threads
    )
    (dx,) = filled(call, last, dy, where)
    return dx


@lru_cache(maxsize=1024)
def bind_maximum_grad(
    geometry: Geometry, outputs: tuple[int, ...], last: bool, dtype: np.dtype[Any],
    where: np.dtype[Any], spatial: tuple[int, int], threads: int,
) -> Bound:  # fmt: skip
    """`maximum_grad`, as `convscape.kernels.cpu.pool_maximum.bind_maximum`.

    Told where dy, the numbers, of this type, and dx lie; both of the first in this order.
    """
    shape, team, useful, fixed = _call(geometry, outputs, spatial, last)
    result, size = Result.of(shape, dtype, last), prod(outputs)
    given = lies_at(0, size, dtype), lies_at(1, size, where), lies_at(2, prod(shape), dtype)
    return Bound((result,), Launch(team, min(threads, useful), *given, *fixed))


def _call(
    geometry: Geometry, outputs: tuple[int, ...], spatial: tuple[int, int], last: bool
) -> tuple[Any, ...]:
    """The shape of dx, the kernel, the threads worth starting, and the kernel's arguments."""
    shape = (*outputs[:2], *spatial)
    (h_gives, w_gives, _), both, steps = backward(geometry, spatial)
    count, run = planes(shape, last)
    if run > 1:
        useful = teams(prod(outputs) * prod(geometry.kernel) + prod(shape), last)
        return shape, _gather_part, useful, (h_gives, w_gives, count, run, *both, steps)
    if serves(*both):
        return shape, lines_part, teams(prod(shape), False), (count, *both)
    sizes = prod(spatial), prod(outputs[2:])
    fixed = *_scattered(geometry, spatial), count, sizes
    return shape, _scatter_part, teams(prod(shape) // 4 + prod(outputs), False), fixed


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


def _scattered(geometry: Geometry, spatial: tuple[int, int]) -> tuple[Array, Array, Array]:
    """How far each kernel cell is from its window's first, and `_starts` of rows and columns."""
    h, w = geometry.windows
    cells = np.arange(h.kernel)[:, None] * h.dilation * spatial[1]
    offsets: Array = (cells + np.arange(w.kernel) * w.dilation).reshape(-1)
    reads = forward(geometry, spatial)[1]
    rows = _starts(h, reads[0], w.output(spatial[1]), spatial[1])
    return offsets, rows, _starts(w, reads[1], 1, 1)


def _starts(window: Window, reads: Array, outputs: int, cells: int) -> Array:
    """(Output, first cell) of the windows with a real cell, these being so far apart in memory."""
    real = np.flatnonzero(reads[:, 1])
    first = real * window.stride - window.padding[0]
    return np.stack([real * outputs, first * cells], 1)
