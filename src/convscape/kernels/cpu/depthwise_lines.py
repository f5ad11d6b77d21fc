"""Depthwise convolution line by line, in channels-last memory and in plain order.

Channels-last lines are computed where they lie. In plain order the rows of a few channels, a
vector's lanes of them, are turned to channels-last in the cache, and the result back.
"""

import numpy as np

from convscape.kernels.cpu.depthwise_pixels import address, correlator, weigher
from convscape.kernels.cpu.depthwise_plan import Tile
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import entry, inlined, kernel, maker, team
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.transpose import transpose, transpose_to

# Most networks' images are 7, 14, 28, 56 or 112 pixels wide.
TILES = (
    Tile(7), Tile(4), Tile(7, 2), Tile(7, 3), Tile(7, 3, 2), Tile(7, 5), Tile(7, 5, 2), Tile(7, 7),
    *((Tile(14, 3),) if SIMD.vectors == 4 else ()),
)  # fmt: skip
"""Two for any window; those for 3, 5 and 7 cells a row, and for their gradients' phases.

14 accumulators fit where there are 32 registers.
"""

_RUN = 256  # pixels summed before the sum joins the total: long sums lose digits

_weigh, _correlate = weigher(TILES), correlator(TILES)


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


@inlined
def _fill(table, row, cells, column, nothing):
    """The addresses that one kernel row of a tile meets."""
    for i in range(len(table)):
        table[i] = row + cells[i] * column if cells[i] >= 0 else nothing


@kernel
def _line(
    adding, image, line, pitch, h, plan, tables, memory, at, sizes, blocks, channel, channels, bias,
    limits,
):  # fmt: skip
    """Output row h of some blocks of channels, the first of which begins at `channel`.

    With `adding` it adds to the weight gradient `memory`; else `memory` holds weights. `image` and
    `line` are the addresses of the input image and the output row, `pitch` the elements from a
    pixel to the next; `plan` has the arrays and sizes of a `Plan`, `tables` comes from `_tables`.
    The first block's cells begin at `at`.
    """
    rows, segments, cells, (h_in, w_in, _, _) = plan
    table, others, spare = tables
    lanes, step = sizes[:2]
    column = pitch * memory.itemsize
    nothing = address(spare)
    # Pixels beyond a line's end are read as zeros, and written where nobody looks.
    nowhere = nothing if adding else nothing + column
    phase, start, row_step, first, last = _reach(rows, h, h_in)
    for j in range(len(segments)):
        cell, apart, real, tiles, width, before = segments[j, :6]
        tile, pixels, hop, split, span = segments[j, 6:]
        for q in range(first, last):
            row = image + (start + q * row_step) * w_in * column
            piece = table[(q - first) * span : (q - first + 1) * span]
            _fill(piece, row, cells[j], column, nothing)
        for t in range(pixels):
            others[t] = line + (cell + t * apart) * column if t < real else nowhere
        met = (last - first) * split
        begin = at + (rows[phase, 4] + rows[phase, 3] * before + first * width) * lanes
        hop_x, hop_y = hop * column, pixels * apart * column
        if adding:
            _correlate(
                tile, table, met, others, tiles, hop_x, hop_y, blocks, channel, channels,
                memory, begin, step,
            )  # fmt: skip
        else:
            _weigh(
                tile, table, met, others, tiles, hop_x, hop_y, blocks, channel, channels,
                memory, begin, step, bias, limits,
            )  # fmt: skip


@maker
def _tables(plan, channels, x):
    """Tables of addresses for `_line`, and two spare pixels: zeros, and one to be written."""
    rows, segments, cells, _ = plan
    most, pixels = 1, 1
    for phase in range(len(rows)):
        most = max(most, rows[phase, 3])
    for j in range(len(segments)):
        pixels = max(pixels, segments[j, 7])
    table, others = np.empty(most * cells.shape[1], np.int64), np.empty(pixels, np.int64)
    return table, others, np.zeros(2 * channels, x.dtype)


@kernel
def _join(memory, total):
    """Add sums to the total, and start them again."""
    for i in range(len(memory)):
        total[i] += memory[i]
        memory[i] = 0


@kernel
def _share(part, parts, lines, sizes):
    """The blocks and lines of a share; they are split `across` ways and along.

    Returns:
        (first block, end), (first line, end), number among those of the same blocks.
    """
    _, _, blocks, across, _, _ = sizes
    along = parts // across
    number, column = divmod(part, across)
    return (
        (blocks * column // across, blocks * (column + 1) // across),
        (lines * number // along, lines * (number + 1) // along),
        number,
    )  # fmt: skip


@maker
def _begin(adding, arranged, memory, number, mine, order, channels, sizes):
    """Where a share has its weights, or its sums and their total, which begin at zero."""
    lanes, step, blocks, _, _, _ = sizes
    size = blocks * step
    if adding:
        total = (
            memory[number * size : (number + 1) * size]
            if arranged
            else np.empty(size, memory.dtype)
        )
        total[mine[0] * step : mine[1] * step] = 0
        return np.zeros(size, memory.dtype), total
    if arranged:
        return memory, memory
    packed = np.empty(size, memory.dtype)
    pack(memory, order, channels, lanes, mine, packed)
    return packed, packed


@team
def direct_part(
    part, parts, adding, x, y, shape, order, rows, segments, cells, dims, sizes,
    arranged, memory, bias, limits,
):  # fmt: skip
    """Lines of channels-last images, a share of them; at least a vector's lanes of channels.

    With `adding` the result is `memory`, else y. `memory` is `arranged` as `pack` does it, for the
    sums of several shares one after the other; or it is in the order of a weight.
    """
    if divide(part, parts):
        return
    images, channels = shape
    plan = (rows, segments, cells, dims)
    h_in, w_in, h_out, w_out = dims
    lanes, step = sizes[:2]
    tables = _tables(plan, channels, x)
    mine, (first, last), number = _share(part, parts, images * h_out, sizes)
    values, total = _begin(adding, arranged, memory, number, mine, order, channels, sizes)
    pixel = channels * x.itemsize
    begin, end = mine[0] * step, mine[1] * step
    summed = 0
    for line in range(first, last):
        n, h = divmod(line, h_out)
        _line(
            adding, address(x) + n * h_in * w_in * pixel, address(y) + line * w_out * pixel,
            channels, h, plan, tables, values, begin, sizes, mine[1] - mine[0], mine[0] * lanes,
            channels, bias, limits,
        )  # fmt: skip
        summed += w_out
        if adding and (summed >= _RUN or line == last - 1):
            _join(values[begin:end], total[begin:end])
            summed = 0
    if adding and not arranged:
        unpack(total, 1, channels, lanes, mine, memory)


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
    part, parts, adding, x, y, shape, order, rows, segments, cells, dims, sizes,
    arranged, memory, bias, limits,
):  # fmt: skip
    """Rows of images in plain order, a few channels at a time, as `direct_part`."""
    if divide(part, parts):
        return
    images, channels = shape
    plan = (rows, segments, cells, dims)
    h_in, w_in, h_out, w_out = dims
    lanes, step, _, _, most, together = sizes
    width = together * lanes
    pixel = width * x.itemsize
    tables = _tables(plan, width, x)
    chunks = (h_out + most - 1) // most
    mine, (start, stop), number = _share(part, parts, images * chunks, sizes)
    values, total = _begin(adding, arranged, memory, number, mine, order, channels, sizes)
    met = 0
    for chunk in range(chunks):
        low, high = _rows_met(rows, chunk * most, min(h_out, (chunk + 1) * most), h_in)
        met = max(met, high - low)
    x_near, y_near = np.zeros(met * w_in * width, x.dtype), np.zeros(most * w_out * width, x.dtype)
    bias_near = np.zeros(width, x.dtype)
    for block in range(mine[0], mine[1], together):
        blocks = min(together, mine[1] - block)
        # The last vector is moved back inside, as `depthwise_pixels` does.
        c = max(0, min(block * lanes, channels - lanes))
        real = min(blocks * lanes, channels - c)
        begin, end = block * step, (block + blocks) * step
        if not adding:
            bias_near[:real] = bias[c : c + real]
        for job in range(start, stop):
            n, chunk = divmod(job, chunks)
            first, last = chunk * most, min(h_out, (chunk + 1) * most)
            low, high = _rows_met(rows, first, last, h_in)
            at, size = ((n * channels + c) * h_in + low) * w_in, (high - low) * w_in
            transpose(x, at, h_in * w_in, real, size, x_near, 0, width)
            at, size = ((n * channels + c) * h_out + first) * w_out, (last - first) * w_out
            if adding:
                transpose(y, at, h_out * w_out, real, size, y_near, 0, width)
            summed = 0
            # Of an array of which only the address is used the memory is freed: these are used on.
            for h in range(first, last):
                _line(
                    adding, address(x_near) - low * w_in * pixel,
                    address(y_near) + (h - first) * w_out * pixel, width, h, plan, tables, values,
                    begin, sizes, blocks, 0, max(real, lanes), bias_near, limits,
                )  # fmt: skip
                summed += w_out
                if adding and (summed >= _RUN or h == last - 1):
                    _join(values[begin:end], total[begin:end])
                    summed = 0
            if not adding:
                transpose(y_near, 0, width, size, real, y, at, h_out * w_out)
    if adding and not arranged:
        unpack(total, 1, channels, lanes, mine, memory)


@entry
def pack(weight, order, channels, lanes, mine, packed):
    """Weights (channel, kernel cell) as [block][kernel cell][lane], blocks [first, end)."""
    taps, cells = len(order), len(weight) // channels
    step = taps * lanes
    # Where a cell goes. A block is turned with what lies behind the cells; that goes under cell 0.
    places = np.zeros(lanes, np.int64)
    if taps == cells <= lanes:
        for k in range(taps):
            places[order[k]] = k
        places[cells:] = places[0]
    for block in range(mine[0], mine[1]):
        c, to = max(0, min(block * lanes, channels - lanes)), block * step
        if taps == cells <= lanes and (c + lanes - 1) * cells + lanes <= len(weight):
            transpose_to(weight, c * cells, cells, lanes, lanes, packed, to, lanes, places, 0)
        else:
            for i in range(min(lanes, channels)):
                for k in range(taps):
                    packed[to + k * lanes + i] = weight[(c + i) * cells + order[k]]


@entry
def unpack(totals, count, channels, lanes, mine, dw):
    """The sum of `count` totals, [block][kernel cell][lane], as (channel, kernel cell)."""
    cells, size = len(dw) // channels, len(totals) // count
    for block in range(mine[0], mine[1]):
        c = max(0, min(block * lanes, channels - lanes))
        for i in range(min(lanes, channels)):
            to = dw[(c + i) * cells : (c + i + 1) * cells]
            for k in range(cells):
                at = (block * cells + k) * lanes + i
                total = totals[at]
                for other in range(1, count):
                    total += totals[other * size + at]
                to[k] = total
