"""The implicit matrix product: rows are output pixels, columns output channels.

A row is an address in channels-last memory, and a row of the kernel one run of products from there
(r fixed, s and c inside). Small kernels are summed in one go; large ones in pieces.
"""

from math import prod

import numpy as np

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose

_DEPTH = 192  # products of one piece of a sum: its weights (48 KiB at the widest) stay close
_FEW = 4 * ROWS  # pixels of one chunk: 6 KiB of tiles
_PIXELS = 32 * ROWS  # the same where a sum has pieces: the tiles stay in L2 while they pass by
_SMALL = 256  # pixels of a map whose border is worth a look
_SHARED = 34  # tiles a thread: with fewer, threads divide the output channels, not the pixels


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
def _correlate_part(
    part, parts, x, start, steps, packed, shape, tap_steps, down, across, batch_last, bias, relu,
    lanes, y, y_strides, y_shape,
):  # fmt: skip
    """Output pixels (n, h, w) of y, a share of them, for all groups and output channels.

    In the order (h, w, n) a tile's pixels have one place, and taps that read padding are left out.
    """
    groups, k_size, c_size, r_size, s_size = shape
    r_step, s_step = tap_steps
    yn, yk, yh, yw = y_strides
    n_size, _, h_size, w_size = y_shape
    pixels = n_size * h_size * w_size
    tiles = (pixels + ROWS - 1) // ROWS
    first, last, k_low, k_high = 0, pixels, 0, k_size
    widest = WIDEST * lanes
    blocks = (k_size + widest - 1) // widest
    if blocks >= 2 * parts and tiles < _SHARED * parts:
        # Few pixels: each thread has its own output channels, and reads only their weights.
        k_low = blocks * part // parts * widest
        k_high = min(blocks * (part + 1) // parts * widest, k_size)
    else:
        first = tiles * part // parts * ROWS
        last = min(pixels, tiles * (part + 1) // parts * ROWS)
    # Cells of a kernel row that are neighbours in memory, with their channels, are one run. A
    # small kernel is summed in one go; a large one in pieces whose weights stay in the L1 cache
    # while all tiles of the chunk pass by.
    cells_run = s_size if s_step == c_size else 1
    run = cells_run * c_size
    together = r_size if r_size * run <= _DEPTH else 1
    depth = min(run, _DEPTH)
    # A sum in one go needs its tiles once, and few of them stay in the L1 cache.
    most = _FEW if together * run == r_size * s_size * c_size else _PIXELS
    rows = np.empty(most, np.int64)
    cells = np.empty(most, np.int64)
    taps = np.empty((most // ROWS, 4), np.int64)
    written = np.empty(most // ROWS, np.bool_)
    tile = np.empty(most * WIDEST * lanes, x.dtype)
    wide = (k_size + lanes - 1) // lanes * lanes
    for g in range(groups):
        k0 = k_low
        while k0 < k_high:
            at = (g * wide + k0) * r_size * s_size * c_size
            vectors = block_vectors(k_size - k0, lanes)
            width = vectors * lanes
            real = min(width, k_size - k0)
            shift_by = bias[g * k_size + k0 : g * k_size + k0 + real]
            for chunk in range(first, last, most):
                size = min(most, last - chunk)
                padded_size = (size + ROWS - 1) // ROWS * ROWS
                if batch_last:
                    cell, n = divmod(chunk, n_size)
                    h, w = divmod(cell, w_size)
                else:
                    line, w = divmod(chunk, w_size)
                    n, h = divmod(line, h_size)
                for p in range(padded_size):
                    rows[p] = start + n * steps[0] + h * steps[1] + w * steps[2]
                    cells[p] = n * yn + h * yh + w * yw
                    if p % ROWS == 0:
                        reach = taps[p // ROWS]
                        reach[0], reach[1], reach[2], reach[3] = 0, r_size, 0, s_size
                        written[p // ROWS] = False
                        if batch_last:
                            reach[0], reach[1] = _real_taps(down, r_size, h)
                            reach[2], reach[3] = _real_taps(across, s_size, w)
                    elif batch_last and n == 0:
                        reach = taps[p // ROWS]
                        r_low, r_high = _real_taps(down, r_size, h)
                        s_low, s_high = _real_taps(across, s_size, w)
                        reach[0], reach[1] = min(reach[0], r_low), max(reach[1], r_high)
                        reach[2], reach[3] = min(reach[2], s_low), max(reach[3], s_high)
                    # Rows beyond the last pixel repeat it; their sums are dropped.
                    if p < size - 1:
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
                for r in range(0, r_size, together):
                    for s in range(0, s_size, cells_run):
                        for i in range(0, run, depth):
                            for t in range(padded_size // ROWS):
                                r_low, r_high, s_low, s_high = taps[t]
                                top = max(r, r_low)
                                outer = min(r + together, r_high) - top
                                low = max(i, (s_low - s) * c_size)
                                count = min(i + depth, run, (s_high - s) * c_size) - low
                                if outer <= 0 or count <= 0:
                                    continue
                                shift = g * c_size + top * r_step + s * s_step + low
                                from_b = at + ((top * s_size + s) * c_size + low) * width
                                jump = s_size * c_size * width
                                if written[t]:
                                    multiply_add(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count,
                                        tile, t * ROWS * width,
                                    )  # fmt: skip
                                else:
                                    multiply(
                                        vectors, x, rows, t * ROWS, shift, r_step, 1,
                                        packed, from_b, jump, width, outer, count,
                                        tile, t * ROWS * width,
                                    )  # fmt: skip
                                    written[t] = True
                for t in range(padded_size // ROWS):
                    if not written[t]:
                        tile[t * ROWS * width : (t + 1) * ROWS * width] = 0
                k = g * k_size + k0
                if yk == 1:
                    for p in range(size):
                        sums = tile[p * width : p * width + real]
                        out = y[cells[p] + k : cells[p] + k + real]
                        for j in range(real):
                            v = sums[j] + shift_by[j]
                            out[j] = 0 if relu and v < 0 else v
                else:
                    # Pixels that are neighbours in y are turned in blocks.
                    for p in range(size):
                        sums = tile[p * width : p * width + real]
                        for j in range(real):
                            v = sums[j] + shift_by[j]
                            sums[j] = 0 if relu and v < 0 else v
                    p = 0
                    while p < size:
                        line = 1
                        while p + line < size and cells[p + line] == cells[p] + line:
                            line += 1
                        transpose(tile, p * width, width, line, real, y, cells[p] + k * yk, yk)
                        p += line
            k0 += width


@team
def _correlate_team(index, parts, *given):
    divide(_correlate_part, index, parts, given)


def correlate(
    memory: Array,
    start: int,
    steps: tuple[int, int, int],
    weights: Array,
    shape: tuple[int, ...],
    tap_steps: tuple[int, int],
    axes: list[tuple[int, int, int, int]],
    bias: Array,
    relu: bool,
    y: Array,
    threads: int,
) -> None:
    """Fill y, a view (N, K, H', W'), from channels-last memory.

    Args:
        memory: The padded input.
        start: Address of what the first kernel cell reads at output (0, 0, 0).
        steps: Elements between outputs along n, h and w.
        weights: Packed.
        shape: Of the weights: (groups, k, c, r, s).
        tap_steps: Elements between kernel cells along r and s.
        axes: (a, b, d, n) of h and of w: tap t of output o reads cell o a + b + t d of n.
        bias: (K,).
        relu: Whether negative results become 0.
        y: The output.
        threads: Threads to use.
    """
    lanes = SIMD.lanes(y.itemsize)
    out, y_strides = flat(y)
    launch(
        _correlate_team, threads,
        memory, start, steps, weights, shape, tap_steps, *axes,
        _batch_last(y.shape, shape[3:], axes), bias, relu, lanes, out, y_strides, y.shape,
    )  # fmt: skip


def _batch_last(
    y: tuple[int, ...], taps: tuple[int, ...], axes: list[tuple[int, int, int, int]]
) -> bool:
    """Whether so much that is read is padding that the order (h, w, n) pays."""
    n, _, h, w = y
    if n < ROWS or h * w > _SMALL:
        return False
    real = [
        sum(0 <= o * a + b + tap * d < size for o in range(outputs) for tap in range(kernel))
        for (a, b, d, size), kernel, outputs in zip(axes, taps, (h, w), strict=True)
    ]
    return 10 * prod(real) < 9 * prod(taps) * h * w
