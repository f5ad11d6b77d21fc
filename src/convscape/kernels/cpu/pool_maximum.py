"""Maximum pooling: y[h, w] = max over the real cells of window (h, w); NaN wins.

Forward, an output line is filled one kernel cell at a time, and stays in the L1 cache meanwhile.
Where a maximum was found is kept as the kernel cell's number, in one byte for kernels of up to 256
cells. Backward, an input cell gathers from the windows that cover it and is written once, so
threads never meet.
"""

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, is_channels_last
from convscape.kernels.cpu.pool_planes import in_line, sizes, span
from convscape.kernels.cpu.threads import launch


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
                first, last = span(s, width)
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
                first, last = span(s, width)
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
            in_line(x, last), in_line(y, last), in_line(where, last),
            *sizes(x.shape, geometry, last),
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
            in_line(dy, last), in_line(where, last), in_line(dx, last),
            *sizes(dx.shape, geometry, last),
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
            in_line(x, last), in_line(where, last), in_line(y, last),
            *sizes(x.shape, geometry, last),
        )  # fmt: skip
    return y
