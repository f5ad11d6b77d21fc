"""Average pooling: y[h, w] = (sum of window (h, w)'s real cells) / (number of cells that count)."""

import numpy as np
from numba import prange

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, empty, is_channels_last
from convscape.kernels.cpu.pool_planes import in_line, sizes, span
from convscape.kernels.cpu.threads import launch


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
                first, last = span(s, width)
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
                first, last = span(s, width)
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
            in_line(x, last), in_line(y, last), *sizes(x.shape, geometry, last), rows, columns,
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
            in_line(dy, last), in_line(dx, last), *sizes(dx.shape, geometry, last), rows, columns,
        )  # fmt: skip
    return dx
