"""Depthwise convolution line by line, in channels-last memory and in plain order.

Channels-last lines are computed where they lie. In plain order the rows of a few channels, a
vector's lanes of them, are turned to channels-last in the cache, and the result back.
"""

import numpy as np

from convscape.kernels.cpu.depthwise_pixels import address, correlator, weigher
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.transpose import transpose, transpose_to

TILES = (7, 4)
"""Pixels of a tile. Most networks' images are 7, 14, 28, 56 or 112 pixels wide."""

BESIDE = 3
"""Vectors of a block beside those of the kernel's cells: bias, lower and upper bound."""

_RUN = 256  # pixels summed before the sum joins the total: long sums lose digits

_weigh_long, _weigh_short = (weigher(pixels) for pixels in TILES)
_correlate_long, _correlate_short = (correlator(pixels) for pixels in TILES)


@kernel
def _reach(rows, h, h_in):
    """Which input rows output row h meets: start + q step, with q of [first, last).

    Returns:
        (phase, start, step, first, last).
    """
    i, phase = divmod(h, len(rows))
    start, step = i * rows[phase, 1] + rows[phase, 0], rows[phase, 2]
    first, last = 0, rows[phase, 3]
    while first < last and not 0 <= start + first * step < h_in:
        first += 1
    while first < last and not 0 <= start + (last - 1) * step < h_in:
        last -= 1
    return phase, start, step, first, last


@kernel
def _fill(table, row, cells, column, nothing):
    """The addresses that one kernel row of a tile meets."""
    for i in range(len(table)):
        table[i] = row + cells[i] * column if cells[i] >= 0 else nothing


@kernel
def _line(
    adding, x, x_at, y, y_at, pitch, h, plan, tables, memory, at, step, lanes, blocks, channels
):
    """Output row h of all blocks of channels.

    With `adding` it adds to the weight gradient `memory`; else `memory` holds weights. `x_at` and
    `y_at` are where the input image and the output row begin, `pitch` the elements from a pixel to
    the next; `plan` has the arrays and sizes of a `Plan`, `tables` comes from `_tables`. The first
    block's cells begin at `at`, the next `step` elements on.
    """
    rows, segments, cells, (h_in, w_in, _, w_out, pixels, hop) = plan
    table, others, spare = tables
    column = pitch * x.itemsize
    # Addresses are taken here, of arguments: an array of which only the address is used is freed.
    image, line = address(x) + x_at * x.itemsize, address(y) + y_at * x.itemsize
    nothing = address(spare)
    # Pixels beyond a line's end are read as zeros, and written where nobody looks.
    nowhere = nothing if adding else nothing + column
    phase, start, row_step, first, last = _reach(rows, h, h_in)
    for j in range(len(segments)):
        cell, apart, real = segments[j, 0], segments[j, 1], segments[j, 2]
        tiles, width, before = segments[j, 3], segments[j, 4], segments[j, 5]
        count = width * pixels
        for q in range(first, last):
            row = image + (start + q * row_step) * w_in * column
            piece = table[(q - first) * count : (q - first + 1) * count]
            _fill(piece, row, cells[j], column, nothing)
        for t in range(pixels):
            others[t] = line + (cell + t * apart) * column if t < real else nowhere
        taps = (last - first) * width
        cell = at + (rows[phase, 4] + rows[phase, 3] * before + first * width) * lanes
        hop_x, hop_y = hop * column, pixels * apart * column
        # Bias and bounds are the last vectors of a block's cells, wherever the first cell is.
        bias = at + step - BESIDE * lanes - cell
        per_line = rows[phase, 1]
        fetch = (
            0
            if taps == 0 or pitch != channels
            else 1
            if per_line == 1
            else min(taps, per_line * width)
        )
        ahead, ahead_y = per_line * w_in * column, w_out * column
        if adding:
            if pixels == TILES[0]:
                _correlate_long(
                    table, taps, others, tiles, hop_x, hop_y, memory, cell, bias, step, blocks,
                    channels, fetch, ahead, ahead_y,
                )  # fmt: skip
            else:
                _correlate_short(
                    table, taps, others, tiles, hop_x, hop_y, memory, cell, bias, step, blocks,
                    channels, fetch, ahead, ahead_y,
                )  # fmt: skip
        elif pixels == TILES[0]:
            _weigh_long(
                table, taps, others, tiles, hop_x, hop_y, memory, cell, bias, step, blocks,
                channels, fetch, ahead, ahead_y,
            )  # fmt: skip
        else:
            _weigh_short(
                table, taps, others, tiles, hop_x, hop_y, memory, cell, bias, step, blocks,
                channels, fetch, ahead, ahead_y,
            )  # fmt: skip


@kernel
def _tables(plan, channels, x):
    """Tables of addresses for `_line`, and two spare pixels: zeros, and one to be written."""
    rows, _, cells, (_, _, _, _, pixels, _) = plan
    most = 1
    for phase in range(len(rows)):
        most = max(most, rows[phase, 3])
    table, others = np.empty(most * cells.shape[1], np.int64), np.empty(pixels, np.int64)
    return table, others, np.zeros(2 * channels, x.dtype)


@kernel
def _join(memory, total):
    """Add sums to the total, and start them again."""
    for i in range(len(memory)):
        total[i] += memory[i]
        memory[i] = 0


@team
def direct_part(
    part, parts, adding, x, y, shape, rows, segments, cells, dims, memory, totals, sizes
):
    """Lines of channels-last images, a share of them; at least a vector's lanes of channels."""
    if divide(part, parts):
        return
    images, channels = shape
    plan = (rows, segments, cells, dims)
    h_in, w_in, h_out, w_out, _, _ = dims
    step, lanes, blocks, _, _ = sizes
    tables = _tables(plan, channels, x)
    mine = memory[part if adding else 0]
    lines = images * h_out
    first, last = lines * part // parts, lines * (part + 1) // parts
    summed = 0
    for line in range(first, last):
        n, h = divmod(line, h_out)
        _line(
            adding, x, n * h_in * w_in * channels, y, line * w_out * channels,
            channels, h, plan, tables, mine, 0, step, lanes, blocks, channels,
        )  # fmt: skip
        summed += w_out
        if adding and (summed >= _RUN or line == last - 1):
            _join(mine, totals[part])
            summed = 0


@kernel
def _rows_met(rows, first, last, h_in):
    """The input rows [low, high) that output rows [first, last) meet."""
    low, high = h_in, 0
    for h in range(first, last):
        _, start, step, q, end = _reach(rows, h, h_in)
        if q < end:
            a, b = start + q * step, start + (end - 1) * step
            low, high = min(low, a, b), max(high, a + 1, b + 1)
    return min(low, high), high


@team
def planes_part(
    part, parts, adding, x, y, shape, rows, segments, cells, dims, memory, totals, sizes
):
    """Rows of images in plain order, a few channels at a time, a share of them."""
    if divide(part, parts):
        return
    images, channels = shape
    plan = (rows, segments, cells, dims)
    h_in, w_in, h_out, w_out, _, _ = dims
    step, lanes, blocks, most, together = sizes
    width = together * lanes
    tables = _tables(plan, width, x)
    mine = memory[part if adding else 0]
    chunks, groups = (h_out + most - 1) // most, (blocks + together - 1) // together
    met = 0
    for chunk in range(chunks):
        low, high = _rows_met(rows, chunk * most, min(h_out, (chunk + 1) * most), h_in)
        met = max(met, high - low)
    x_near, y_near = np.zeros(met * w_in * width, x.dtype), np.zeros(most * w_out * width, x.dtype)
    jobs = images * groups * chunks
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        plane, chunk = divmod(job, chunks)
        n, group = divmod(plane, groups)
        # The last vector is moved back inside, as `depthwise_pixels` does.
        c = max(0, min(group * width, channels - lanes))
        real = min(width, channels - c)
        begin, end = group * together * step, min(blocks, (group + 1) * together) * step
        first, last = chunk * most, min(h_out, (chunk + 1) * most)
        low, high = _rows_met(rows, first, last, h_in)
        at, size = ((n * channels + c) * h_in + low) * w_in, (high - low) * w_in
        transpose(x, at, h_in * w_in, real, size, x_near, 0, width)
        at, size = ((n * channels + c) * h_out + first) * w_out, (last - first) * w_out
        if adding:
            transpose(y, at, h_out * w_out, real, size, y_near, 0, width)
        summed = 0
        for h in range(first, last):
            _line(
                adding, x_near, -low * w_in * width, y_near, (h - first) * w_out * width, width,
                h, plan, tables, mine, begin, step, lanes, (end - begin) // step, max(real, lanes),
            )  # fmt: skip
            summed += w_out
            if adding and (summed >= _RUN or h == last - 1):
                _join(mine[begin:end], totals[part, begin:end])
                summed = 0
        if not adding:
            transpose(y_near, 0, width, size, real, y, at, h_out * w_out)


@kernel
def pack(weight, bias, limits, order, channels, lanes, packed):
    """Weights (channel, kernel cell) as [block][kernel cell, then bias and bounds][lane]."""
    taps, cells = len(order), len(weight) // channels
    step = (taps + BESIDE) * lanes
    # Where a cell goes. A block is turned with what lies behind the cells; that goes under cell 0.
    places = np.zeros(lanes, np.int64)
    if taps == cells <= lanes:
        for k in range(taps):
            places[order[k]] = k
        places[cells:] = places[0]
    for block in range(len(packed) // step):
        c = max(0, min(block * lanes, channels - lanes))
        to, beside = block * step, block * step + taps * lanes
        if taps == cells <= lanes and (c + lanes - 1) * cells + lanes <= len(weight):
            at = c * cells
            transpose_to(weight, at, cells, lanes, lanes, packed, to, lanes, places, 0)
        else:
            for i in range(min(lanes, channels)):
                for k in range(taps):
                    packed[to + k * lanes + i] = weight[(c + i) * cells + order[k]]
        for i in range(min(lanes, channels)):
            packed[beside + i] = bias[c + i]
            packed[beside + lanes + i] = limits[0]
            packed[beside + 2 * lanes + i] = limits[1]


@kernel
def unpack(totals, channels, cells, lanes, dw):
    """The sum of all threads' totals, [block][kernel cell][lane], as (channel, kernel cell)."""
    step = (cells + BESIDE) * lanes
    for block in range(totals.shape[1] // step):
        c = max(0, min(block * lanes, channels - lanes))
        for i in range(min(lanes, channels)):
            to = dw[(c + i) * cells : (c + i + 1) * cells]
            for k in range(cells):
                total = totals[0, block * step + k * lanes + i]
                for part in range(1, len(totals)):
                    total += totals[part, block * step + k * lanes + i]
                to[k] = total
