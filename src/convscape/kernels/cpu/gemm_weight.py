"""The weight gradient on the register tile: rows are output channels, and the sum is over pixels.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

The columns are the weights of one output channel in the order (r, s, c). Pixels are taken in pieces
that stay in L2: dy's piece is turned once, so that a row's pixels are neighbours; of x one block of
columns at a time is gathered, which is a run of channels for each pixel.

On a small map most of a border tap's cells are padding. There the pixels are ordered (h, w, n): a
tap's real cells are then whole runs, and only those are multiplied. Maps with long lines are
multiplied in place (`gemm_weight_wide`), and in plain memory with few weights an output channel
nothing is turned (`gemm_weight_lines`).
"""

from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import gemm_weight_lines, gemm_weight_wide
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound
from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import (
    Array,
    flat,
    is_channels_last,
    lies_last,
    padded,
    weight_shaped,
)
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose

_PIECE = 256  # pixels of one piece: 64 KiB of x's columns
_WIDE = 128  # pixels of an image from which on its lines are multiplied in place
_WIDE_WITHOUT = 48  # the same where no padding is to be left out
_SPLIT_ROWS = 16 * ROWS  # output channels of a thread's own; with fewer, pixels are split
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread


@kernel
def _copy(source, out):
    for i in range(len(out)):
        out[i] = source[i]


@kernel
def _turn_part(dy, strides, grid, batch_last, first, count, low, high, turned, step):
    """Set turned[k - low][p] to dy's pixel first + p, for the output channels low <= k < high."""
    n_size, h_size, w_size = grid
    sn, sk, sh, sw = strides
    plane = h_size * w_size
    p = 0
    while p < count:
        # A run is what has one step in memory: the pixels of an image, or an image's one pixel.
        if batch_last:
            cell, n = divmod(first + p, n_size)
            run, along = min(count - p, n_size - n), sn
        else:
            n, cell = divmod(first + p, plane)
            run, along = min(count - p, plane - cell), sw
        at = n * sn + cell // w_size * sh + cell % w_size * sw
        if sk == 1:
            transpose(dy, at + low, along, run, high - low, turned, p, step)
        else:
            for k in range(low, high):
                line = turned[(k - low) * step + p : (k - low) * step + p + run]
                source = dy[at + k * sk :]
                if along == 1:
                    _copy(source, line)
                else:
                    for i in range(run):
                        line[i] = source[i * along]
        p += run


@kernel
def _gather(x, size, step, taps, dilations, merged, cells, count, first, real, width, columns):
    """Columns [first, first + real) of each pixel, in rows of `width`; padding is 0.

    A pixel's columns are runs that lie together in x: a line of its window, or a cell's channels.
    """
    _, s_size, c_size = taps
    run = s_size * c_size if merged else c_size
    for p in range(count):
        columns[p * width + real : (p + 1) * width] = 0
    j = first
    while j < first + real:
        tap, i = divmod(j, run)
        length = min(run - i, first + real - j)
        r, s = (tap, 0) if merged else divmod(tap, s_size)
        down, across = r * dilations[0], s * dilations[1]
        shift = down * step[0] + across * step[1] + i
        # Of a line's cells some may be padding; of one cell's channels all or none.
        reach = (i + length + c_size - 1) // c_size if merged else 1
        for p in range(count):
            row, column = cells[1, p] + down, cells[2, p] + across
            out = columns[p * width + j - first : p * width + j - first + length]
            if row < 0 or row >= size[0]:
                out[:] = 0
            elif column >= 0 and column + reach <= size[1]:
                source = x[cells[0, p] + shift :]
                for c in range(length):
                    out[c] = source[c]
            elif not merged:
                out[:] = 0
            else:
                for c in range(length):
                    cell = column + (i + c) // c_size
                    inside = 0 <= cell < size[1]
                    out[c] = x[cells[0, p] + shift + c] if inside else 0
        j += length


@kernel
def _inside(tap, axis, n, m):
    """The outputs [first, last) whose kernel cell `tap` meets a real cell."""
    stride, dilation, low = axis
    shift = low - tap * dilation
    first = max(0, -((-shift) // stride))
    last = min(m, (n - 1 + shift) // stride + 1)
    return first, max(first, last)


@team
def _weight_part(
    part, parts, x, x_strides, size, dy, dy_strides, grid, down, across, channels, taps,
    batch_last, split, lanes, sums,
):  # fmt: skip
    """Set sums[slab][group][block of columns][k][column], for a share of k or of the pixels."""
    if divide(part, parts):
        return
    n_size, h_size, w_size = grid
    groups, k_size = channels
    r_size, s_size, c_size = taps
    merged = groups == 1 and across[1] == 1 and x_strides[2] == c_size
    total = r_size * s_size * c_size
    wide = (total + lanes - 1) // lanes * lanes
    k_rows = (k_size + ROWS - 1) // ROWS * ROWS
    low, high, slab, first, last = 0, k_rows, 0, 0, n_size * h_size * w_size
    # In the order (h, w, n) a piece is whole lines, so that a tap's real cells are runs.
    line = w_size * n_size if batch_last else 1
    if split:
        low, high = (
            k_rows // ROWS * part // parts * ROWS,
            k_rows // ROWS * (part + 1) // parts * ROWS,
        )
    else:
        pieces = last // line
        slab, first, last = part, pieces * part // parts * line, pieces * (part + 1) // parts * line
    most = max(1, _PIECE // line) * line
    step = most + lanes
    turned = np.empty((high - low) * step, x.dtype)
    turned[(min(high, k_size) - low) * step :] = 0  # rows behind the last output channel
    columns = np.empty(most * WIDEST * lanes, x.dtype)
    rows = np.arange(high - low) * step
    cells = np.empty((3, most), np.int64)
    if first == last:
        sums[slab * groups * wide * k_rows : (slab + 1) * groups * wide * k_rows] = 0
    for start in range(first, last, most):
        count = min(most, last - start)
        for p in range(count):
            if batch_last:
                cell, n = divmod(start + p, n_size)
            else:
                n, cell = divmod(start + p, h_size * w_size)
            h, w = divmod(cell, w_size)
            row, column = h * down[0] - down[2], w * across[0] - across[2]
            cells[0, p] = n * x_strides[0] + row * x_strides[1] + column * x_strides[2]
            cells[1, p], cells[2, p] = row, column
        for g in range(groups):
            real_high = min(high, k_size)
            if low < real_high:
                _turn_part(
                    dy, dy_strides, grid, batch_last, start, count,
                    g * k_size + low, g * k_size + real_high, turned, step,
                )  # fmt: skip
            base = (slab * groups + g) * wide * k_rows
            j0 = 0
            while j0 < total:
                vectors = block_vectors(total - j0, lanes)
                width = vectors * lanes
                real = min(width, total - j0)
                _gather(
                    x[g * c_size :], size, x_strides[1:], taps, (down[1], across[1]), merged,
                    cells, count, j0, real, width, columns,
                )  # fmt: skip
                outer, at, along = 1, 0, count
                if batch_last and j0 // c_size == (j0 + real - 1) // c_size:
                    r, s = divmod(j0 // c_size, s_size)
                    h_low, h_high = _inside(r, down, size[0], h_size)
                    w_low, w_high = _inside(s, across, size[1], w_size)
                    h_low, h_high = max(h_low, start // line), min(h_high, (start + count) // line)
                    outer, along = h_high - h_low, (w_high - w_low) * n_size
                    at = (h_low - start // line) * line + w_low * n_size
                for k in range(low, high, ROWS):
                    to = base + j0 * k_rows + k * width
                    if outer <= 0 or along <= 0:
                        if start == first:
                            sums[to : to + ROWS * width] = 0
                    elif start == first:
                        multiply(
                            vectors, turned, rows, k - low, at, line, 1,
                            columns, at * width, line * width, width, outer, along, sums, to,
                        )  # fmt: skip
                    else:
                        multiply_add(
                            vectors, turned, rows, k - low, at, line, 1,
                            columns, at * width, line * width, width, outer, along, sums, to,
                        )  # fmt: skip
                j0 += width


@team
def _collect_part(part, parts, sums, slabs, channels, taps, lanes, last, dw):
    """The slabs' total as dw[k][c][r][s], or [k][r][s][c] if `last`; a share of the k."""
    if divide(part, parts):
        return
    groups, k_size = channels
    r_size, s_size, c_size = taps
    cells = r_size * s_size
    total = cells * c_size
    wide = (total + lanes - 1) // lanes * lanes
    k_rows = (k_size + ROWS - 1) // ROWS * ROWS
    line = np.empty(wide, dw.dtype)
    for job in range(groups * k_size * part // parts, groups * k_size * (part + 1) // parts):
        g, k = divmod(job, k_size)
        out = dw[job * total : (job + 1) * total]
        for slab in range(slabs):
            base = (slab * groups + g) * wide * k_rows
            j0 = 0
            while j0 < total:
                width = block_vectors(total - j0, lanes) * lanes
                piece = line[j0 : min(j0 + width, wide)]
                source = sums[base + j0 * k_rows + k * width :]
                for i in range(len(piece)):
                    piece[i] = source[i] if slab == 0 else piece[i] + source[i]
                j0 += width
        if last:
            copy_run(line, 0, out, 0, total)
            continue
        for c in range(c_size):
            for tap in range(cells):
                out[c * cells + tap] = line[tap * c_size + c]


@lru_cache(maxsize=1024)
def bind_weight(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    dy_shape: tuple[int, ...], dy_strides: tuple[int, ...], dtype: str, threads: int,
) -> Bound | None:  # fmt: skip
    """`weight_grad` where all but the addresses is known, as `convscape.kernels.cpu.gemm.bind`.

    Args:
        geometry: The convolution.
        shape: Of the input.
        strides: Its, in elements.
        dy_shape: Of the output's gradient.
        dy_strides: Its, in elements.
        dtype: Of both.
        threads: Threads to use.

    Returns:
        What to call for wide channels-last maps without gaps; None for others.
    """
    last = lies_last(shape, strides) and lies_last(dy_shape, dy_strides)
    if not last or 0 in shape or 0 in dy_shape or not _is_wide(geometry, dy_shape):
        return None
    return gemm_weight_wide.bind(geometry, shape, dy_shape, dtype, threads)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight: the input correlated with dy.

    Args:
        x: (N, C, H, W), the forward input.
        dy: (N, K, H', W').
        geometry: The forward convolution.
        threads: Threads to use.

    Returns:
        (K, C / groups, R, S), in channels-last memory when x is.
    """
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    plain = not is_channels_last(x) and dy.strides[3] == dy.itemsize
    if plain and gemm_weight_lines.fits(geometry, dy.shape[2:], x.itemsize):
        return gemm_weight_lines.weight_grad(x, dy, geometry, threads)
    if _is_wide(geometry, dy.shape):
        return gemm_weight_wide.weight_grad(x, dy, geometry, threads)
    k, c, r, s = geometry.weight_shape
    k //= geometry.groups
    lanes = SIMD.lanes(x.itemsize)
    memory, strides = padded(x, ((0, 0), (0, 0)), threads)
    given, given_strides = flat(dy)
    # Pixels must have one step in memory within an image.
    if given_strides[2] != dy.shape[3] * given_strides[3]:
        given, (sn, sh, sw) = padded(dy, ((0, 0), (0, 0)), threads)
        given_strides = (sn, 1, sh, sw)
    if dy.size * c * r * s < _SPLIT_FROM:
        threads = 1
    split = threads > 1 and k >= _SPLIT_ROWS * threads
    slabs = 1 if split else max(1, threads)
    wide, k_rows = -(-r * s * c // lanes) * lanes, -(-k // ROWS) * ROWS
    sums = workspace.empty(slabs * geometry.groups * wide * k_rows, x.dtype)
    down, across = ((w.stride, w.dilation, w.padding[0]) for w in geometry.windows)
    channels, taps = (geometry.groups, k), (r, s, c)
    launch(
        _weight_part, threads,
        memory, strides, x.shape[2:], given, given_strides, (dy.shape[0], *dy.shape[2:]),
        down, across, channels, taps, _batch_last(dy.shape, x.shape, geometry), split, lanes, sums,
    )  # fmt: skip
    dw = workspace.empty(prod(geometry.weight_shape), x.dtype)
    last = is_channels_last(x)
    launch(_collect_part, threads, sums, slabs, channels, taps, lanes, last, dw)
    return weight_shaped(dw, geometry, last)


@lru_cache(maxsize=1024)
def _is_wide(geometry: Geometry, dy: tuple[int, ...]) -> bool:
    """Whether an image's pixels are enough for sums along its lines."""
    padded_cells = any(w.padding != (0, 0) for w in geometry.windows)
    return prod(dy[2:]) >= (_WIDE if padded_cells else _WIDE_WITHOUT)


@lru_cache(maxsize=1024)
def _batch_last(dy: tuple[int, ...], x: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether enough of the taps are padding to order the pixels by position, then by image."""
    n, _, _, w = dy
    if n < ROWS or n * w > _PIECE:
        return False
    met = [
        sum(
            0 <= o * axis.stride - axis.padding[0] + tap * axis.dilation < size
            for o in range(outputs)
            for tap in range(axis.kernel)
        )
        for axis, size, outputs in zip(geometry.windows, x[2:], dy[2:], strict=True)
    ]
    return 10 * prod(met) < 9 * prod(geometry.kernel) * prod(dy[2:])
