"""Weights as the matrix unit reads them: panels of 16 output channels, cells in a product's order.

Where a tile of output channels and a block of input channels are whole, panels are made of the
weights as they lie; else, of few channels or cells that follow each other, of a copy in order.
"""

from math import prod

import numpy as np

from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.amx_tiles import BLOCK, DEEP, PANEL, PART, SIDE, split
from convscape.kernels.cpu.bound import Launch, lies_at, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch
from convscape.kernels.cpu.gemm_pack import pack_block, places_of
from convscape.kernels.cpu.gemm_problem import (
    CELLS_R,
    CELLS_S,
    FIRST_CELL,
    STEP_S,
    TAPS_R,
    TAPS_S,
    Products,
)
from convscape.kernels.cpu.jit import entry, inlined, kernel, maker, team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.transpose import turn_square

_AHEAD = 4 * DEEP  # input channels ahead that are asked for: their lines lie far apart
_SPLIT_FROM = 1 << 13  # weights, about 5 microseconds of one thread


@entry
def runs_of(product, channels):
    """Cells that are one run of products, how many runs there are, and the blocks of each."""
    joined = product[STEP_S] == channels and product[CELLS_S] == 1
    cells = product[TAPS_S] if joined else 1
    return (
        cells,
        product[TAPS_R] * product[TAPS_S] // cells,
        (cells * channels + DEEP - 1) // DEEP,
    )


@maker
def begins_of(table, columns, channels):
    """Where each product's panels begin, and behind the last one's where they end."""
    begins = np.zeros(len(table) + 1, np.int64)
    for line in range(len(table)):
        _, many, blocks = runs_of(table[line], channels)
        begins[line + 1] = begins[line] + columns * many * blocks * PANEL
    return begins


@kernel
def is_straight(strides, shape):
    """Whether panels can be made of the weights as they lie: no tile or block is partly filled."""
    k_size, c_size, _, _ = shape
    return (strides[0] == 1 or strides[1] == 1) and k_size % SIDE == 0 and c_size % DEEP == 0


@inlined
def _straight(weight, at, sk, sc, turned, panels, to):
    """One panel of `SIDE` output channels and `DEEP` input channels, from at on."""
    if sk == 1:
        for j in range(SIDE):
            fetch(weight, at + (_AHEAD + j) * sc)
            fetch(weight, at + (_AHEAD + SIDE + j) * sc)
            split(weight, at + j * sc, at + (SIDE + j) * sc, panels, to + j * DEEP)
        return
    for i in range(SIDE):
        fetch(weight, at + i * sk + _AHEAD)
        fetch(weight, at + i * sk + _AHEAD + SIDE)
    turn_square(weight, at, sk, turned, 0, SIDE)
    turn_square(weight, at + SIDE, sk, turned, SIDE * SIDE, SIDE)
    for j in range(SIDE):
        split(turned, j * SIDE, (SIDE + j) * SIDE, panels, to + j * DEEP)


@kernel
def _through_line(line, at, left, rest, tiles, step, panels, to):
    """Panels of two tiles from lines of `BLOCK` output channels, `left` of them."""
    if left < DEEP:
        for i in range(DEEP * BLOCK):
            line[rest + i] = line[at + i] if i < left * BLOCK else 0
        at = rest
    for tile in range(tiles):
        for j in range(SIDE):
            row = at + j * BLOCK + tile * SIDE
            split(line, row, row + SIDE * BLOCK, panels, to + tile * step + j * DEEP)


@kernel
def fill_line(weight, strides, shape, first, places, line):
    """What `pack_columns` needs first where panels cannot be made of weights as they lie.

    Args:
        weight: The weights' memory.
        strides: Of (k, c, r, s) in it.
        shape: (k, c, r, s).
        first: Of `BLOCK` output channels.
        places: What `places_of` gives for all input channels.
        line: Filled with the channels' weights.
    """
    if not is_straight(strides, shape):
        pack_block(
            weight, first * strides[0], strides, shape[1:], 0, shape[1],
            min(BLOCK, shape[0] - first), BLOCK, places, line, 0,
        )  # fmt: skip


@kernel
def pack_columns(weight, strides, shape, product, first, low, high, line, turned, panels, to, step):
    """The panels of `BLOCK` output channels, of the blocks low <= block < high of a product.

    Args:
        weight: The weights' memory.
        strides: Of (k, c, r, s) in it.
        shape: (k, c, r, s).
        product: A line of the table.
        first: Of these output channels, a multiple of `BLOCK`.
        low: The first block.
        high: Behind the last one.
        line: What `fill_line` has filled; behind that, room for one block of products.
        turned: Room for a block of `SIDE` channels' weights.
        panels: Filled.
        to: Where the first tile's panels begin.
        step: From there to the second tile's.
    """
    k_size, c_size, _, s_size = shape
    sk, sc, sr, ss = strides
    straight = is_straight(strides, shape)
    tiles = (min(BLOCK, k_size - first) + SIDE - 1) // SIDE
    together, _, blocks = runs_of(product, c_size)
    for number in range(low, high):
        run, block = divmod(number, blocks)
        r, s = divmod(run * together, product[TAPS_S])
        cell = product[FIRST_CELL] + r * product[CELLS_R] + s * product[CELLS_S]
        here = to + (number - low) * PANEL
        if straight:
            further, c = divmod(block * DEEP, c_size)
            row, column = divmod(cell + further, s_size)
            at = first * sk + c * sc + row * sr + column * ss
            for tile in range(tiles):
                _straight(weight, at + tile * SIDE * sk, sk, sc, turned, panels, here + tile * step)
        else:
            at, left = (cell * c_size + block * DEEP) * BLOCK, together * c_size - block * DEEP
            _through_line(line, at, left, len(line) - DEEP * BLOCK, tiles, step, panels, here)


@kernel
def pack_all(weight, strides, shape, table, begins, first, places, line, turned, panels):
    """The panels of `BLOCK` output channels of all products; see `pack_columns`."""
    fill_line(weight, strides, shape, first, places, line)
    for m in range(len(table)):
        _, many, blocks = runs_of(table[m], shape[1])
        step = many * blocks * PANEL
        pack_columns(
            weight, strides, shape, table[m], first, 0, many * blocks, line, turned, panels,
            begins[m] + first // SIDE * step, step,
        )  # fmt: skip


def line_of(c: int, r: int, s: int) -> int:
    """Elements of the line that `pack_columns` works in."""
    return (r * s * c + DEEP) * BLOCK


@team
def _pack_part(part, parts, weight, strides, shape, table, place, count):
    if divide(part, parts):
        return
    panels = at_address(place, count, np.empty(0, np.uint16))
    k_size, c_size, r_size, s_size = shape
    begins = begins_of(table, (k_size + SIDE - 1) // SIDE, c_size)
    line = scratch((r_size * s_size * c_size + DEEP) * BLOCK, weight)
    turned = scratch(PART, weight)
    places = places_of(c_size, c_size, r_size * s_size, SIDE)
    blocks = (k_size + BLOCK - 1) // BLOCK
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        pack_all(weight, strides, shape, table, begins, block * BLOCK, places, line, turned, panels)


def panels_of(products: Products) -> int:
    """Numbers of the panels of all weights."""
    _, k, c, _, _ = products.shape
    return -(-k // SIDE) * PANEL * sum(int(prod(runs_of(line, c)[1:])) for line in products.table)


def packing(
    size: int, strides: tuple[int, ...], products: Products, count: int, threads: int
) -> Launch:
    """What makes the panels of all weights, told where the weights and the panels begin.

    Args:
        size: Elements of the weights' memory, in which (k, c, r, s) have these strides.
        strides: See `size`.
        products: Where everything lies.
        count: Numbers of the panels.
        threads: Threads to use.
    """
    weight = lies_at(0, size, np.float32)
    threads = threads if prod(products.shape) >= _SPLIT_FROM else 1
    return Launch(
        _pack_part, threads, weight, strides, products.shape[1:], products.table, place(1), count
    )


def packed(weight: Array, products: Products, threads: int) -> Array:
    """The panels of weights (k, c, r, s), any strides."""
    out = workspace.empty(panels_of(products), np.uint16)
    memory, strides = flat(weight)
    make = packing(memory.size, strides, products, len(out), threads)
    make(workspace.address(memory), workspace.address(out))
    return out
