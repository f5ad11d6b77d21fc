"""The implicit matrix product: rows are output pixels, columns output channels.

A row is an address in channels-last memory, and a row of the kernel one run of products from there
(r fixed, s and c inside). Small kernels are summed in one go; large ones in pieces.
"""

import numpy as np

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.gemm_pack import pack_block, places_of
from convscape.kernels.cpu.gemm_problem import (
    BATCH_LAST,
    CELLS_R,
    CELLS_S,
    FIRST_CELL,
    STEP_R,
    STEP_S,
    TAPS_R,
    TAPS_S,
    Y_K,
)
from convscape.kernels.cpu.gemm_segments import blocks_of, own_channels, place, room_of, segments_of
from convscape.kernels.cpu.gemm_way import DEPTH
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.tile import (
    WIDEST,
    block_vectors,
    finish_across_few,
    multiply_add_few,
    multiply_add_streamed,
    multiply_few,
)
from convscape.kernels.cpu.transpose import transpose

_FEW = 2  # tiles, for which weights come from memory as fast as they are multiplied


@kernel
def _write(tile, width, real, size, bias, at, limits, cells, shift, y, yk):
    """The sums of the tiles' pixels, biased and clipped, to y; neighbours are turned in blocks."""
    lower, upper = limits
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


@kernel
def _multiply(
    product, tiles, size, block, pieces, x, rows, reach, packed, at, tile, written, y, cells, to_k,
    bias, bias_at, limits,
):  # fmt: skip
    """Add to the sums of the tiles [low, high) what some input channels give a block of channels.

    Args:
        product: A line of the table.
        tiles: (low, high).
        size: Their pixels: the last tile's may be fewer than its rows.
        block: Vectors of the block, its width with the idle lanes, its real channels.
        pieces: The channels' place in the input, how many, whether they are the first, the last.
        x: Channels-last memory.
        rows: Where pixels begin in it.
        reach: Taps that the tiles need.
        packed: The weights, these from `at` on.
        at: See `packed`.
        tile: The sums so far of the tiles `written`.
        written: See `tile`; set.
        y: Where the last piece of a sum goes straight, if its channels are neighbours there.
        cells: The pixels' places in y.
        to_k: The block's in a pixel.
        bias: Added then, from `bias_at` on.
        bias_at: See `bias`.
        limits: Of what is written.
    """
    t0, t1 = tiles
    vectors, width, real = block
    c0, many, first, last = pieces
    first_cell, r_cells, s_cells = product[FIRST_CELL], product[CELLS_R], product[CELLS_S]
    r_size, s_size = product[TAPS_R], product[TAPS_S]
    r_step, s_step = product[STEP_R], product[STEP_S]
    # Cells of a kernel row that are neighbours in memory, with their channels, are one run.
    joined = s_step == many and s_cells == 1
    # Where they are not, a piece of a sum runs over r: let that be the longer axis.
    turned = not joined and s_size > r_size
    if turned:
        r_size, s_size, r_step, s_step = s_size, r_size, s_step, r_step
        r_cells, s_cells = s_cells, r_cells
    cells_run = s_size if joined else 1
    run = cells_run * many
    rows_of = max(1, min(r_size, DEPTH // run))
    depth = min(run, DEPTH)
    final = (r_size - 1) // rows_of * rows_of, (s_size - 1) // cells_run * cells_run
    last_piece = (run - 1) // depth * depth
    whole = final[0] == 0 and final[1] == 0 and last_piece == 0 and first
    jump = r_cells * many * width
    streamed = t1 - t0 <= _FEW
    for r in range(0, r_size, rows_of):
        for s in range(0, s_size, cells_run):
            for i in range(0, run, depth):
                if last and (r, s) == final and i == last_piece:
                    rest = min(rows_of, r_size - r)
                    shift = c0 + r * r_step + s * s_step + i
                    cell = first_cell + r * r_cells + s * s_cells
                    for t in range(t0, t1):
                        left = size - (t - t0) * ROWS
                        finish_across_few(
                            left, vectors, whole, x, rows, t * ROWS, shift, r_step, 1,
                            packed, at + (cell * many + i) * width, jump, width,
                            rest, min(depth, run - i), tile, t * ROWS * width,
                            y, cells, t * ROWS, to_k, bias, bias_at, real, *limits,
                        )  # fmt: skip
                    continue
                for t in range(t0, t1):
                    r_low, r_high, s_low, s_high = reach[t]
                    if turned:
                        r_low, r_high, s_low, s_high = s_low, s_high, r_low, r_high
                    top = max(r, r_low)
                    outer = min(r + rows_of, r_high) - top
                    low = max(i, (s_low - s) * many)
                    count = min(i + depth, run, (s_high - s) * many) - low
                    if outer <= 0 or count <= 0:
                        continue
                    shift = c0 + top * r_step + s * s_step + low
                    cell = first_cell + top * r_cells + s * s_cells
                    from_b, to = at + (cell * many + low) * width, t * ROWS * width
                    left = size - (t - t0) * ROWS
                    if not written[t]:
                        multiply_few(
                            left, vectors, x, rows, t * ROWS, shift, r_step, 1,
                            packed, from_b, jump, width, outer, count, tile, to,
                        )  # fmt: skip
                        written[t] = True
                    elif streamed:
                        multiply_add_streamed(
                            left, vectors, x, rows, t * ROWS, shift, r_step, 1,
                            packed, from_b, jump, width, outer, count, tile, to,
                        )  # fmt: skip
                    else:
                        multiply_add_few(
                            left, vectors, x, rows, t * ROWS, shift, r_step, 1,
                            packed, from_b, jump, width, outer, count, tile, to,
                        )  # fmt: skip


@team
def correlate_part(part, parts, places, sizes, w_strides, shape, way, bias, limits, lanes, table):
    """Output pixels of y, or output channels: a share of them, for all groups.

    Pixels are taken in chunks whose input stays in the L2 cache; of each chunk all output channels
    are made, a block at a time. A block's sum is taken in pieces of a few rows of the kernel, or a
    part of one, that all tiles of the chunk pass by; the last piece is added on the way to y.

    `places` says where the input, the weights, the packed ones and y begin, `sizes` how many
    elements they have. `way` is a `convscape.kernels.cpu.gemm_way.Way`: a thread that packs for
    itself and does not keep it takes the blocks in the outer loop and the chunks inside.
    """
    if divide(part, parts):
        return
    x, weight = at_address(places[0], sizes[0], bias), at_address(places[1], sizes[1], bias)
    packed, y = at_address(places[2], sizes[2], bias), at_address(places[3], sizes[3], bias)
    by_channels, fresh, keep, together, channels, most, own_room = way
    groups, k_size, c_size, r_all, s_all = shape
    all_cells = r_all * s_all
    k_low, k_high = own_channels(part, parts, k_size, lanes, by_channels, fresh)
    if k_high - k_low < k_size:
        segments = segments_of(table, 0, 1, most)
    else:
        segments = segments_of(table, part, parts, most)
    starts = blocks_of(k_low, k_high, lanes)
    blocks, chunks = groups * len(starts), 1 if together else len(segments)
    if len(segments) == 0 or blocks == 0:
        return
    room = room_of(segments, together)
    rows, cells = np.empty(room, np.int64), np.empty(room, np.int64)
    reach, written = np.empty((room // ROWS, 4), np.int64), np.empty(room // ROWS, np.bool_)
    tile = scratch(room * WIDEST * lanes, x)
    if fresh:
        packed = scratch(own_room // parts, x)
    lanes_to = places_of(channels if fresh else 0, channels, all_cells, lanes)
    wide = (k_size + lanes - 1) // lanes * lanes
    bounds = x.dtype.type(limits[0]), x.dtype.type(limits[1])
    placed = -1
    for job in range(chunks * blocks):
        if fresh and not keep:
            block, chunk = divmod(job, chunks)
        else:
            chunk, block = divmod(job, blocks)
        low, high = (0, len(segments)) if together else (chunk, chunk + 1)
        if placed != chunk:
            t = 0
            for m in range(low, high):
                line, first, size = segments[m]
                place(table[line], first, size, rows[t * ROWS :], cells[t * ROWS :], reach[t:])
                t += (size + ROWS - 1) // ROWS
            placed = chunk
        g, number = divmod(block, len(starts))
        k0 = starts[number]
        vectors = block_vectors(k_high - k0, lanes)
        width = vectors * lanes
        real = min(width, k_high - k0)
        at = 0 if fresh and not keep else (g * wide + k0) * all_cells * c_size
        written[:] = False
        for c0 in range(0, c_size, channels):
            many = min(channels, c_size - c0)
            if fresh and chunk == 0:
                if len(lanes_to) != many * all_cells + lanes:
                    # The last piece has fewer channels than the others.
                    lanes_to = places_of(many, many, all_cells, lanes)
                source = g * w_strides[0] + k0 * w_strides[1] + c0 * w_strides[2]
                pack_block(
                    weight, source, w_strides[1:], (many, r_all, s_all), 0, many, real, width,
                    lanes_to, packed, at,
                )  # fmt: skip
            last = c0 + many == c_size
            t0 = 0
            for m in range(low, high):
                line, _, size = segments[m]
                t1 = t0 + (size + ROWS - 1) // ROWS
                yk = table[line, Y_K]
                direct, to_k = yk == 1 and not table[line, BATCH_LAST], (g * k_size + k0) * yk
                _multiply(
                    table[line], (t0, t1), size, (vectors, width, real),
                    (g * c_size + c0, many, c0 == 0, last and direct), x, rows, reach, packed, at,
                    tile, written, y, cells, to_k, bias, g * wide + k0, bounds,
                )  # fmt: skip
                if last and not direct:
                    for t in range(t0, t1):
                        if not written[t]:
                            tile[t * ROWS * width : (t + 1) * ROWS * width] = 0
                    _write(
                        tile[t0 * ROWS * width :], width, real, size, bias, g * wide + k0, bounds,
                        cells[t0 * ROWS :], to_k, y, yk,
                    )  # fmt: skip
                t0 = t1
