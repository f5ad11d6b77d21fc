"""The implicit matrix product: rows are output pixels, columns output channels.

A row is an address in channels-last memory, and a row of the kernel one run of products from there
(r fixed, s and c inside). Small kernels are summed in one go; large ones in pieces.
"""

from typing import Any

import numpy as np

from convscape.kernels.cpu.clip import bounds
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.gemm_problem import Product
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import (
    WIDEST,
    block_vectors,
    finish_across,
    multiply,
    multiply_add,
    own_blocks,
)
from convscape.kernels.cpu.transpose import transpose

_DEPTH = 256  # products of one piece of a sum: longer ones lose digits
_CHUNK_BYTES = 256 << 10  # of input that a chunk of pixels reads: it stays in L2
_MOST = 64 * ROWS  # pixels of one chunk: their tiles are 98 KiB
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread


@kernel
def _real_taps(axis, taps, o):
    """The taps [first, last) that read a real cell at output o: 0 <= o a + b + tap d < n."""
    a, b, d, n = axis
    first, last = taps, 0
    for tap in range(taps):
        if 0 <= o * a + b + tap * d < n:
            first, last = min(first, tap), tap + 1
    return first, last


@kernel
def _place(
    first, size, batch_last, start, steps, y_strides, y_shape, down, across, taps, rows, cells,
    reach,
):  # fmt: skip
    """Where the pixels from `first` on read and are written, and which taps their tiles need.

    In the order (h, w, n) a tile's pixels have one place, and taps that read padding are left out.
    Rows beyond the last pixel repeat it.
    """
    yn, _, yh, yw = y_strides
    n_size, _, h_size, w_size = y_shape
    if batch_last:
        cell, n = divmod(first, n_size)
        h, w = divmod(cell, w_size)
    else:
        line, w = divmod(first, w_size)
        n, h = divmod(line, h_size)
    for p in range((size + ROWS - 1) // ROWS * ROWS):
        rows[p] = start + n * steps[0] + h * steps[1] + w * steps[2]
        cells[p] = n * yn + h * yh + w * yw
        near = reach[p // ROWS]
        if p % ROWS == 0:
            near[0], near[1], near[2], near[3] = 0, taps[0], 0, taps[1]
            if batch_last:
                near[0], near[1] = _real_taps(down, taps[0], h)
                near[2], near[3] = _real_taps(across, taps[1], w)
        elif batch_last and n == 0:
            r_low, r_high = _real_taps(down, taps[0], h)
            s_low, s_high = _real_taps(across, taps[1], w)
            near[0], near[1] = min(near[0], r_low), max(near[1], r_high)
            near[2], near[3] = min(near[2], s_low), max(near[3], s_high)
        if p >= size - 1:
            continue
        if batch_last:
            n += 1
            if n == n_size:
                n = 0
                w += 1
                if w == w_size:
                    w = 0
                    h += 1
        else:
            w += 1
            if w == w_size:
                w = 0
                h += 1
                if h == h_size:
                    h = 0
                    n += 1


@kernel
def _write(tile, width, real, size, bias, at, lower, upper, cells, shift, y, yk):
    """The sums of the tiles' pixels, biased and clipped, to y; neighbours are turned in blocks."""
    for p in range(size):
        sums = tile[p * width : p * width + real]
        for j in range(real):
            v = sums[j] + bias[at + j]
            v = lower if v < lower else v
            sums[j] = upper if v > upper else v
    p = 0
    while p < size:
        line = 1
        if yk == 1:
            out = y[cells[p] + shift : cells[p] + shift + real]
            for j in range(real):
                out[j] = tile[p * width + j]
        else:
            while p + line < size and cells[p + line] == cells[p] + line:
                line += 1
            transpose(tile, p * width, width, line, real, y, cells[p] + shift, yk)
        p += line


@team
def _correlate_part(
    part, parts, x, packed, bias, limits, lanes, y, start, steps, cells_at, shape, tap_steps, down,
    across, batch_last, y_strides, y_shape,
):  # fmt: skip
    """Output pixels (n, h, w) of y, a share of them, for all groups and output channels.

    Pixels are taken in chunks whose input stays in the L2 cache; of each chunk all output channels
    are made, a block at a time. A block's sum is taken in pieces of a few rows of the kernel, or a
    part of one, that all tiles of the chunk pass by; the last piece is added on the way to y.
    """
    if divide(part, parts):
        return
    groups, k_size, c_size, r_size, s_size = shape
    r_step, s_step = tap_steps
    yk = y_strides[1]
    pixels = y_shape[0] * y_shape[2] * y_shape[3]
    tiles = (pixels + ROWS - 1) // ROWS
    first, last, k_low, k_high = 0, pixels, 0, k_size
    widest = WIDEST * lanes
    if len(packed) > len(x):
        # More weights than pixels: each thread has its own output channels, if there are enough.
        k_low, k_high = own_blocks(part, parts, k_size, lanes)
    if k_high - k_low == k_size:
        first = tiles * part // parts * ROWS
        last = min(pixels, tiles * (part + 1) // parts * ROWS)
    # Cells of a kernel row that are neighbours in memory, with their channels, are one run.
    first_cell, r_cells, s_cells, all_cells = cells_at
    cells_run = s_size if s_step == c_size and s_cells == 1 else 1
    run = cells_run * c_size
    together = max(1, min(r_size, _DEPTH // run))
    depth = min(run, _DEPTH)
    final = (r_size - 1) // together * together, (s_size - 1) // cells_run * cells_run
    last_piece = (run - 1) // depth * depth
    whole = final[0] == 0 and final[1] == 0 and last_piece == 0
    direct = yk == 1 and not batch_last
    fitting = _CHUNK_BYTES // (steps[2] * x.itemsize) // ROWS * ROWS
    most = max(4 * ROWS, min(_MOST, fitting))
    rows, cells = np.empty(most, np.int64), np.empty(most, np.int64)
    reach, written = np.empty((most // ROWS, 4), np.int64), np.empty(most // ROWS, np.bool_)
    tile = np.empty(most * widest, x.dtype)
    wide = (k_size + lanes - 1) // lanes * lanes
    lower, upper = x.dtype.type(limits[0]), x.dtype.type(limits[1])
    for chunk in range(first, last, most):
        size = min(most, last - chunk)
        _place(
            chunk, size, batch_last, start, steps, y_strides, y_shape, down, across,
            (r_size, s_size), rows, cells, reach,
        )  # fmt: skip
        for g in range(groups):
            k0 = k_low
            while k0 < k_high:
                at = (g * wide + k0) * all_cells * c_size
                vectors = block_vectors(k_size - k0, lanes)
                width = vectors * lanes
                real = min(width, k_size - k0)
                to_k, jump = (g * k_size + k0) * yk, r_cells * c_size * width
                written[:] = False
                for r in range(0, r_size, together):
                    for s in range(0, s_size, cells_run):
                        for i in range(0, run, depth):
                            finishing = direct and (r, s) == final and i == last_piece
                            if finishing:
                                rest = min(together, r_size - r)
                                cell = first_cell + r * r_cells + s * s_cells
                                for t in range((size + ROWS - 1) // ROWS):
                                    finish_across(
                                        vectors, whole, x, rows, t * ROWS,
                                        g * c_size + r * r_step + s * s_step + i, r_step, 1,
                                        packed, at + (cell * c_size + i) * width, jump, width,
                                        rest, min(depth, run - i), tile, t * ROWS * width,
                                        y, cells, t * ROWS, to_k, bias, g * wide + k0, real,
                                        lower, upper,
                                    )  # fmt: skip
                                continue
                            for t in range((size + ROWS - 1) // ROWS):
                                r_low, r_high, s_low, s_high = reach[t]
                                top = max(r, r_low)
                                outer = min(r + together, r_high) - top
                                low = max(i, (s_low - s) * c_size)
                                count = min(i + depth, run, (s_high - s) * c_size) - low
                                if outer <= 0 or count <= 0:
                                    continue
                                shift = g * c_size + top * r_step + s * s_step + low
                                cell = first_cell + top * r_cells + s * s_cells
                                from_b, to = at + (cell * c_size + low) * width, t * ROWS * width
                                if written[t]:
                                    multiply_add(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count, tile, to,
                                    )  # fmt: skip
                                else:
                                    multiply(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count, tile, to,
                                    )  # fmt: skip
                                    written[t] = True
                if not direct:
                    for t in range((size + ROWS - 1) // ROWS):
                        if not written[t]:
                            tile[t * ROWS * width : (t + 1) * ROWS * width] = 0
                    _write(
                        tile, width, real, size, bias, g * wide + k0, lower, upper, cells, to_k,
                        y, yk,
                    )  # fmt: skip
                k0 += width


def correlate(
    memory: Array,
    weights: Array,
    product: Product,
    bias: Array | None,
    relu: bool | float,
    y: Array,
    threads: int,
) -> None:
    """Fill outputs from channels-last memory.

    Args:
        memory: The padded input.
        weights: Packed.
        product: Where everything lies.
        bias: (K,), or None.
        relu: Whether negative results become 0; a number is an upper bound beside.
        y: The result's memory, one-dimensional.
        threads: Threads to use.
    """
    groups, k = product.shape[:2]
    launch(
        _correlate_part, threads if product.multiplications >= _SPLIT_FROM else 1,
        memory, weights, _in_blocks(bias, groups, k, y.dtype), bounds(relu),
        SIMD.lanes(y.itemsize), y[product.y_start :] if product.y_start else y,
        *product.arguments,
    )  # fmt: skip


def _in_blocks(bias: Array | None, groups: int, k: int, dtype: Any) -> Array:
    """The bias in whole vectors a group, as the weights are packed; none is 0."""
    lanes = SIMD.lanes(dtype.itemsize)
    if bias is not None and k % lanes == 0:
        return np.ascontiguousarray(bias)
    blocks = np.zeros(groups * -(-k // lanes) * lanes, dtype)
    if bias is not None:
        blocks.reshape(groups, -1)[:, :k] = bias.reshape(groups, k)
    return blocks
