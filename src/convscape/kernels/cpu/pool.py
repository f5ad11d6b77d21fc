"""Maximum and average pooling, forward and backward, in one pass each.

    maximum: y[h, w] = max over the real cells of window (h, w); NaN wins
    average: y[h, w] = (sum of its real cells) / (number of cells that count)

Forward, an output line is filled one kernel cell at a time: the line stays in the L1 cache, and
the inner loop runs over neighbours in memory. That is over channels in channels-last memory and
over the width in plain memory, so a plane of the kernels is (image) or (image, channel), and `run`
is the number of channels or 1. The maximum keeps where it was found as the kernel cell's number,
in one byte for kernels of up to 256 cells. Backward, an input cell gathers from the windows that
cover it and is written once, so threads never meet.
"""

from typing import Any

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, is_channels_last
from convscape.kernels.cpu.threads import launch

Axis = tuple[int, int, int, int, int, int]
"""(kernel, stride, dilation, low padding, input cells, output cells)."""


# --- the kernels -------------------------------------------------------------------------------


@kernel
def _span(tap, axis):
    """The outputs [first, last) whose kernel cell `tap` meets a real cell."""
    _, stride, dilation, low, n, m = axis
    shift = low - tap * dilation
    first = max(0, -((-shift) // stride))
    last = min(m, (n - 1 + shift) // stride + 1)
    return first, max(first, last)


@kernel
def _maximum_part(part, parts, x, y, where, planes, run, height, width):
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = planes * h_out
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_out)
        best = y[line * w_out * run : (line + 1) * w_out * run]
        cell = where[line * w_out * run : (line + 1) * w_out * run]
        best[:] = -np.inf
        # A window of nothing but -Inf still points at its first real cell.
        r_first = max(0, -((h * h_stride - top) // h_dilation))
        for w in range(w_out):
            s_first = max(0, -((w * w_stride - left) // w_dilation))
            cell[w * run : (w + 1) * run] = r_first * s_size + s_first
        for r in range(r_size):
            row = h * h_stride - top + r * h_dilation
            if row < 0 or row >= h_size:
                continue
            for s in range(s_size):
                first, last = _span(s, width)
                column = first * w_stride - left + s * w_dilation
                source = x[((plane * h_size + row) * w_size + column) * run :]
                number = r * s_size + s
                if run == 1:
                    _maximum_line(source, w_stride, best[first:last], cell[first:last], number)
                else:
                    for i in range(last - first):
                        w = first + i
                        _maximum_line(
                            source[i * w_stride * run :], 1,
                            best[w * run : (w + 1) * run], cell[w * run : (w + 1) * run], number,
                        )  # fmt: skip


@kernel
def _maximum_line(source, step, best, cell, number):
    # The common steps are written as constants, so that the loads vectorize.
    if step == 1:
        for i in range(len(best)):
            v = source[i]
            wins = v > best[i] or v != v
            best[i] = v if wins else best[i]
            cell[i] = number if wins else cell[i]
    elif step == 2:
        for i in range(len(best)):
            v = source[2 * i]
            wins = v > best[i] or v != v
            best[i] = v if wins else best[i]
            cell[i] = number if wins else cell[i]
    else:
        for i in range(len(best)):
            v = source[step * i]
            wins = v > best[i] or v != v
            best[i] = v if wins else best[i]
            cell[i] = number if wins else cell[i]


@team
def _maximum_team(parts, x, y, where, planes, run, height, width):
    for part in prange(parts):
        _maximum_part(np.int64(part), parts, x, y, where, planes, run, height, width)


@kernel
def _maximum_grad_part(part, parts, dy, where, dx, planes, run, height, width):
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = planes * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_size)
        out = dx[line * w_size * run : (line + 1) * w_size * run]
        out[:] = 0
        for r in range(r_size):
            o, off = divmod(h + top - r * h_dilation, h_stride)
            if off != 0 or o < 0 or o >= h_out:
                continue
            start = (plane * h_out + o) * w_out
            for s in range(s_size):
                first, last = _span(s, width)
                number = r * s_size + s
                for w in range(first, last):
                    column = w * w_stride - left + s * w_dilation
                    to = out[column * run : (column + 1) * run]
                    given = dy[(start + w) * run : (start + w + 1) * run]
                    cell = where[(start + w) * run : (start + w + 1) * run]
                    for c in range(run):
                        to[c] += given[c] if cell[c] == number else 0


@team
def _maximum_grad_team(parts, dy, where, dx, planes, run, height, width):
    for part in prange(parts):
        _maximum_grad_part(np.int64(part), parts, dy, where, dx, planes, run, height, width)


@kernel
def _pick_part(part, parts, x, where, y, planes, run, height, width):
    """y[o] = x[the cell where the maximum was]: the maximum's derivative, applied to x."""
    (_, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = planes * h_out
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


@team
def _pick_team(parts, x, where, y, planes, run, height, width):
    for part in prange(parts):
        _pick_part(np.int64(part), parts, x, where, y, planes, run, height, width)


@kernel
def _average_part(part, parts, x, y, planes, run, height, width, rows, columns):
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = planes * h_out
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_out)
        total = y[line * w_out * run : (line + 1) * w_out * run]
        total[:] = 0
        for r in range(r_size):
            row = h * h_stride - top + r * h_dilation
            if row < 0 or row >= h_size:
                continue
            for s in range(s_size):
                first, last = _span(s, width)
                column = first * w_stride - left + s * w_dilation
                source = x[((plane * h_size + row) * w_size + column) * run :]
                if run == 1:
                    _add_line(source, w_stride, total[first:last])
                else:
                    for i in range(last - first):
                        w = first + i
                        _add_line(source[i * w_stride * run :], 1, total[w * run : (w + 1) * run])
        for w in range(w_out):
            share = total[w * run : (w + 1) * run]
            for c in range(run):
                share[c] /= rows[h] * columns[w]


@kernel
def _add_line(source, step, total):
    if step == 1:
        for i in range(len(total)):
            total[i] += source[i]
    elif step == 2:
        for i in range(len(total)):
            total[i] += source[2 * i]
    else:
        for i in range(len(total)):
            total[i] += source[step * i]


@team
def _average_team(parts, x, y, planes, run, height, width, rows, columns):
    for part in prange(parts):
        _average_part(np.int64(part), parts, x, y, planes, run, height, width, rows, columns)


@kernel
def _average_grad_part(part, parts, dy, dx, planes, run, height, width, rows, columns):
    (r_size, h_stride, h_dilation, top, h_size, h_out) = height
    (s_size, w_stride, w_dilation, left, w_size, w_out) = width
    lines = planes * h_size
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        plane, h = divmod(line, h_size)
        out = dx[line * w_size * run : (line + 1) * w_size * run]
        out[:] = 0
        for r in range(r_size):
            o, off = divmod(h + top - r * h_dilation, h_stride)
            if off != 0 or o < 0 or o >= h_out:
                continue
            start = (plane * h_out + o) * w_out
            for s in range(s_size):
                first, last = _span(s, width)
                for w in range(first, last):
                    column = w * w_stride - left + s * w_dilation
                    to = out[column * run : (column + 1) * run]
                    given = dy[(start + w) * run : (start + w + 1) * run]
                    count = rows[o] * columns[w]
                    for c in range(run):
                        to[c] += given[c] / count


@team
def _average_grad_team(parts, dy, dx, planes, run, height, width, rows, columns):
    for part in prange(parts):
        _average_grad_part(np.int64(part), parts, dy, dx, planes, run, height, width, rows, columns)


# --- what they compute -------------------------------------------------------------------------


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
    shape = (*x.shape[:2], *geometry.outputs(x.shape[2:]))
    y = empty(shape, x.dtype, last)
    cells = geometry.kernel[0] * geometry.kernel[1]
    where = empty(shape, np.uint8 if cells <= 256 else np.int32, last)
    if y.size:
        launch(
            _maximum_part, _maximum_team, threads,
            _line(x, last), _line(y, last), _line(where, last), *_sizes(x.shape, geometry, last),
        )  # fmt: skip
    return y, where


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
    dx = empty((*dy.shape[:2], *spatial), dy.dtype, last)
    if dx.size:
        launch(
            _maximum_grad_part, _maximum_grad_team, threads,
            _line(dy, last), _line(where, last), _line(dx, last),
            *_sizes(dx.shape, geometry, last),
        )  # fmt: skip
    return dx


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
            _pick_part, _pick_team, threads,
            _line(x, last), _line(where, last), _line(y, last), *_sizes(x.shape, geometry, last),
        )  # fmt: skip
    return y


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
    y = empty((*x.shape[:2], *geometry.outputs(x.shape[2:])), x.dtype, last)
    if y.size:
        rows, columns = (d.astype(x.dtype) for d in divisors)
        launch(
            _average_part, _average_team, threads,
            _line(x, last), _line(y, last), *_sizes(x.shape, geometry, last), rows, columns,
        )  # fmt: skip
    return y


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
    dx = empty((*dy.shape[:2], *spatial), dy.dtype, last)
    if dx.size:
        rows, columns = (d.astype(dy.dtype) for d in divisors)
        launch(
            _average_grad_part, _average_grad_team, threads,
            _line(dy, last), _line(dx, last), *_sizes(dx.shape, geometry, last), rows, columns,
        )  # fmt: skip
    return dx


def _line(x: Array, last: bool) -> Array:
    """An array's memory as one dimension, in channels-last or plain order; copied if need be."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if last else x).reshape(-1)


def _sizes(shape: tuple[int, ...], geometry: Geometry, last: bool) -> tuple[Any, ...]:
    n, c, h, w = shape
    planes, run = (n, c) if last else (n * c, 1)
    return planes, run, _axis(geometry.windows[0], h), _axis(geometry.windows[1], w)


def _axis(w: Window, n: int) -> Axis:
    return w.kernel, w.stride, w.dilation, w.padding[0], n, w.output(n)
