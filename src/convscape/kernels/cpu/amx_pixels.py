"""The implicit matrix product on the matrix unit: rows are output pixels, columns output channels.

As in `convscape.kernels.cpu.gemm_pixels` a row is an address in channels-last memory. Pixels are
taken in chunks; of a chunk some blocks of products at a time are split into panels, which stay in
L2, and multiplied with all output channels.
"""

import numpy as np

from convscape.kernels.cpu.amx_finish import finish
from convscape.kernels.cpu.amx_pack import begins_of, fill_line, pack_all, pack_columns, runs_of
from convscape.kernels.cpu.amx_tiles import (
    BLOCK,
    DEEP,
    PANEL,
    PART,
    SIDE,
    configure,
    product,
    release,
    split,
)
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.gemm_pack import places_of
from convscape.kernels.cpu.gemm_problem import (
    SIZE_H,
    SIZE_N,
    SIZE_W,
    STEP_R,
    STEP_S,
    TAPS_S,
    Y_K,
)
from convscape.kernels.cpu.gemm_segments import place
from convscape.kernels.cpu.jit import inlined, kernel, maker, team
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.transpose import transpose

_square = product(2, 2)
_flat = product(1, 2)
_tall = product(2, 1)
_one = product(1, 1)
_SQUARE = BLOCK * BLOCK


@kernel
def _settings(numbers, rows):
    """What `configure` wants: so many rows in the tiles of pixels, and in those of sums."""
    numbers[:] = 0
    numbers[0] = 1  # the only palette there is
    for tile in range(8):
        numbers[16 + 2 * tile] = 2 * DEEP  # bytes of a row
        numbers[48 + tile] = SIDE if tile >= 6 else rows


@inlined
def _multiply(rows, columns, *given):
    """Multiply one or two tiles of rows with one or two of columns."""
    if rows == 2:
        if columns == 2:
            _square(*given)
        else:
            _tall(*given)
    elif columns == 2:
        _flat(*given)
    else:
        _one(*given)


@maker
def _split_rows(line, channels, low, high, x, rows, groups, side, panels, rest):
    """The panels of a chunk's pixels, of the blocks low <= block < high of a product's cells.

    Args:
        line: Of the table of products.
        channels: Of the input.
        low: The first block.
        high: Behind the last one.
        x: Channels-last memory.
        rows: The pixels' addresses in it, whole groups.
        groups: How many groups.
        side: Pixels of a group.
        panels: Filled, group by group.
        rest: Room for the cells of a block that is not full.
    """
    together, _, blocks = runs_of(line, channels)
    shifts, lefts = np.empty(high - low, np.int64), np.empty(high - low, np.int64)
    for block in range(low, high):
        run, inside = divmod(block, blocks)
        r, s = divmod(run * together, line[TAPS_S])
        shifts[block - low] = r * line[STEP_R] + s * line[STEP_S] + inside * DEEP
        lefts[block - low] = together * channels - inside * DEEP
    for pixel in range(groups * side):
        # A pixel's channels follow each other: so the hardware foresees what is read.
        group, i = divmod(pixel, side)
        to = group * (high - low) * PANEL + i * DEEP
        for n in range(high - low):
            at = rows[pixel] + shifts[n]
            if lefts[n] >= DEEP:
                split(x, at, at + SIDE, panels, to)
            else:
                for j in range(lefts[n]):
                    rest[j] = x[at + j]
                split(rest, 0, SIDE, panels, to)
            to += PANEL


@kernel
def _write(sums, at, size, real, bias, b_at, lower, upper, cells, first, shift, y, yk):
    """Sums of some pixels, biased and clipped, to y; neighbours are turned in blocks."""
    if yk == 1:
        for p in range(size):
            finish(
                sums, at + p * BLOCK, bias, b_at, y, cells[first + p] + shift, real, lower, upper
            )
        return
    for p in range(size):
        line = at + p * BLOCK
        finish(sums, line, bias, b_at, sums, line, BLOCK, lower, upper)
    p = 0
    while p < size:
        many, cell = 1, cells[first + p]
        while p + many < size and cells[first + p + many] == cell + many:
            many += 1
        transpose(sums, at + p * BLOCK, BLOCK, many, real, y, cell + shift, yk)
        p += many


@kernel
def _add(made, sums, at, first):
    """Set or add to a square of sums that begins at `at`."""
    out = sums[at : at + _SQUARE]
    if first:
        for i in range(_SQUARE):
            out[i] = made[i]
    else:
        for i in range(_SQUARE):
            out[i] += made[i]


@kernel
def _groups_of(pixels, part, parts):
    """A share's groups of pixels [low, high), and how many pixels a group has."""
    groups = (pixels + SIDE - 1) // SIDE
    groups = (groups + parts - 1) // parts * parts  # every share gets as many
    side = max(1, (pixels + groups - 1) // groups)
    groups = (pixels + side - 1) // side
    return groups * part // parts, groups * (part + 1) // parts, side


@inlined
def _decoded(job, pieces, pairs):
    """Number of a job's block of output channels, of its piece of their sums, of its tiles."""
    block, rest = divmod(job, pieces * pairs)
    piece, pair = divmod(rest, pairs)
    return block, piece, pair


@team
def correlate_part(part, parts, places, sizes, w_strides, shape, way, bias, limits, table):
    """Output pixels of y, or output channels: a share of them.

    `places` says where the input, the weights, their panels, y, and room to work in begin; `sizes`
    how many elements they have, of the room how many bytes a share; `way` is a
    `convscape.kernels.cpu.amx_way.Way`.
    """
    if divide(part, parts):
        return
    x, weight = at_address(places[0], sizes[0], bias), at_address(places[1], sizes[1], bias)
    halves = np.empty(0, np.uint16)
    panels, y = at_address(places[2], sizes[2], halves), at_address(places[3], sizes[3], bias)
    by_channels, fresh, passing, most, depth, span, keep, own_line = way
    room = places[4] + part * sizes[4]
    left = at_address(room, most * span * PANEL, halves)
    room += 2 * len(left)
    made = at_address(room, 2 * _SQUARE, bias)
    sums = at_address(room + 4 * len(made), keep, bias)
    line_room = at_address(room + 4 * (len(made) + keep), own_line, bias)
    k_size, c_size, r_size, s_size = shape
    blocks = (k_size + BLOCK - 1) // BLOCK
    low, high = 0, blocks
    if by_channels:
        low, high = blocks * part // parts, blocks * (part + 1) // parts
    begins = begins_of(table, (k_size + SIDE - 1) // SIDE, c_size)
    turned = scratch(PART if fresh else 0, bias)
    lanes_to = places_of(c_size if fresh else 0, c_size, r_size * s_size, SIDE)
    if fresh and (passing or not by_channels):
        own = sizes[2] // parts
        panels = panels[own * part : own * (part + 1)]
    if fresh and not passing:
        for block in range(low, high):
            pack_all(
                weight, w_strides, shape, table, begins, block * BLOCK, lanes_to, line_room, turned,
                panels,
            )  # fmt: skip
    rows, cells = np.empty(most * SIDE + ROWS, np.int64), np.empty(most * SIDE + ROWS, np.int64)
    reach = np.empty((most * SIDE // ROWS + 2, 4), np.int64)
    settings, rest = np.empty(64, np.uint8), np.zeros(DEEP, x.dtype)
    lower, upper = x.dtype.type(limits[0]), x.dtype.type(limits[1])
    configured = 0
    for m in range(len(table)):
        line = table[m]
        _, runs, deep = runs_of(line, c_size)
        deep *= runs
        pixels = line[SIZE_N] * line[SIZE_H] * line[SIZE_W]
        g0, g1, side = _groups_of(pixels, 0 if by_channels else part, 1 if by_channels else parts)
        if g0 == g1 or low == high:
            continue
        if side != configured:
            _settings(settings, side)
            configure(settings)
            configured = side
        yk = line[Y_K]
        for first in range(g0, g1, most):
            many = min(most, g1 - first)
            size, pairs = min(many * side, pixels - first * side), (many + 1) // 2
            place(line, first * side, size, rows, cells, reach)
            for p in range(size, many * side):
                rows[p] = rows[size - 1]
            for d in range(0, deep, span):
                end = min(d + span, deep)
                pieces = (end - d + depth - 1) // depth
                _split_rows(line, c_size, d, end, x, rows, many, side, left, rest)
                jobs = (high - low) * pieces * pairs
                # What the unit has just stored is slow to read: it is read one turn later.
                for job in range(jobs + 1):
                    if job < jobs:
                        block, piece, pair = _decoded(job, pieces, pairs)
                        block += low
                        begin = d + piece * depth
                        here = min(depth, end - begin)
                        at, step = begins[m] + (2 * block * deep + begin) * PANEL, deep * PANEL
                        if passing:
                            at, step = 0, here * PANEL
                            if pair == 0:
                                if piece == 0:
                                    fill_line(
                                        weight, w_strides, shape, block * BLOCK, lanes_to, line_room
                                    )
                                pack_columns(
                                    weight, w_strides, shape, line, block * BLOCK, begin,
                                    begin + here, line_room, turned, panels, at, step,
                                )  # fmt: skip
                        _multiply(
                            min(2, many - 2 * pair), 2 if k_size - block * BLOCK > SIDE else 1,
                            left, (2 * pair * (end - d) + begin - d) * PANEL, (end - d) * PANEL,
                            panels, at, step, here, made[job % 2 * _SQUARE :],
                        )  # fmt: skip
                    if job == 0:
                        continue
                    block, piece, pair = _decoded(job - 1, pieces, pairs)
                    begin = d + piece * depth
                    done, at = made, (job - 1) % 2 * _SQUARE
                    if deep > depth:
                        done, at = sums, ((0 if passing else block) * (most // 2) + pair) * _SQUARE
                        _add(made[(job - 1) % 2 * _SQUARE :], sums, at, begin == 0)
                    if begin + depth < deep:
                        continue
                    to_k = (low + block) * BLOCK
                    for g in range(2 * pair, min(2 * pair + 2, many)):
                        from_cell = g * side
                        _write(
                            done, at + (g - 2 * pair) * SIDE * BLOCK, min(side, size - from_cell),
                            min(BLOCK, k_size - to_k), bias, to_k, lower, upper, cells, from_cell,
                            to_k * yk, y, yk,
                        )  # fmt: skip
    release()
