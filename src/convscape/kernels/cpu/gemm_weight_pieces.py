"""A thread's share of the weight gradient by pieces of pixels (see `gemm_weight`)."""

import numpy as np

from convscape.kernels.cpu.copy import copy_run
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.tile import LONGEST, WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose


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
def weight_part(
    part, parts, x, x_strides, size, dy, dy_strides, grid, down, across, channels, taps,
    batch_last, split, lanes, direct, sums,
):  # fmt: skip
    """Set sums[slab][group][block of columns][k][column], for a share of k or of the pixels.

    Where all pixels are one piece, `direct` sets sums[group][k][column] instead: that is dw.
    """
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
    most = max(1, LONGEST // line) * line
    step = most + lanes
    turned = np.empty((high - low) * step, x.dtype)
    turned[(min(high, k_size) - low) * step :] = 0  # rows behind the last output channel
    columns = np.empty(most * WIDEST * lanes, x.dtype)
    tile = np.empty(ROWS * WIDEST * lanes, x.dtype)
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
                    out, to = sums, base + j0 * k_rows + k * width
                    if direct:
                        out, to = tile, 0
                    if outer <= 0 or along <= 0:
                        if start == first:
                            out[to : to + ROWS * width] = 0
                    elif start == first:
                        multiply(
                            vectors, turned, rows, k - low, at, line, 1,
                            columns, at * width, line * width, width, outer, along, out, to,
                        )  # fmt: skip
                    else:
                        multiply_add(
                            vectors, turned, rows, k - low, at, line, 1,
                            columns, at * width, line * width, width, outer, along, out, to,
                        )  # fmt: skip
                    if direct:
                        for i in range(min(ROWS, k_size - k)):
                            row = (g * k_size + k + i) * total + j0
                            copy_run(tile, i * width, sums, row, real)
                j0 += width


@team
def collect_part(part, parts, sums, slabs, channels, taps, lanes, last, dw):
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
