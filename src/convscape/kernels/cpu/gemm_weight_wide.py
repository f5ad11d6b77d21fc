"""The weight gradient of wide maps on the register tile: the sum runs along the lines of an image.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

Rows are the weights of one output channel, in the order in which they are wanted: each is the
address where its pixels begin, and the same steps lead through x for all of them, in whatever order
of memory. Columns are output channels. In channels-last memory both are read where they lie, unless
their pixels compete for places in the cache (`gemm_weight_copies`); in plain memory dy's lines are
turned into a panel, which stays in the L2 cache while all rows pass by. The lines must be long
enough to pay for reading and writing the tile.
"""

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, Result, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch
from convscape.kernels.cpu.gemm_weight_copies import (
    COMPETING,
    COPIES_ROWS,
    copy_columns,
    copy_rows,
)
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, Pads, flat, is_channels_last, padded, weight_shaped
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.slabs import Slabs
from convscape.kernels.cpu.tile import LONGEST, WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.transpose import transpose

_LINE = 64  # bytes of a line of the cache
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread
_NEAR = 128 << 10  # bytes of copied rows: they stay in L2
_SUMS = 1 << 20  # bytes of sums kept while these serve; a sum is touched once a panel
_OUTPUTS, _ROWS, _PIXELS = 0, 1, 2


@kernel
def _ask(x, first, cells, tile, tiles):
    """Ask for a tile's share of so many lines of the cache from `first` on."""
    step = _LINE // x.itemsize
    for cell in range(cells * tile // tiles, cells * (tile + 1) // tiles):
        fetch(x, first + cell * step)


@team
def _weight_part(part, parts, places, sizes, x_steps, dy_steps, rows, grid, channels, way, like):
    """A share of dw[group][k][row]: of the output channels, of the rows or of the pixels.

    The pixels' shares have a slab of dw each. `places` says where x, dy and dw begin, `sizes` how
    many elements of like's type they have; `way` is a `_Way`.
    """
    if divide(part, parts):
        return
    x, dy = at_address(places[0], sizes[0], like), at_address(places[1], sizes[1], like)
    dw = at_address(places[2], sizes[2], like)
    n_size, h_size, w_size = grid
    groups, c_size, k_size = channels
    split, copies, lanes = way
    m_size = dw.size // ((parts if split == _PIXELS else 1) * groups * k_size)
    widest = WIDEST * lanes
    # A panel is several short lines, or a piece of a long one.
    lines, pieces = max(1, min(h_size, LONGEST // w_size)), (w_size + LONGEST - 1) // LONGEST
    along = (w_size + pieces - 1) // pieces
    stacks, most = (h_size + lines - 1) // lines, lines * along
    low, high, k_low, k_high = 0, (m_size + ROWS - 1) // ROWS, 0, k_size
    slab, first, last = 0, 0, n_size * stacks * pieces
    if split == _PIXELS:
        slab, first, last = part, last * part // parts, last * (part + 1) // parts
    elif split == _OUTPUTS:
        blocks = (k_size + widest - 1) // widest
        k_low = blocks * part // parts * widest
        k_high = min(blocks * (part + 1) // parts * widest, k_size)
    else:
        low, high = high * part // parts, high * (part + 1) // parts
    tiles = high - low
    # What is copied of x serves several blocks of output channels: as many as sums are kept of.
    room = most * ROWS + _LINE // x.itemsize  # so that the tiles' do not compete themselves
    lot = max(1, min(tiles, _NEAR // (room * x.itemsize)) if copies else tiles)
    many = max(1, _SUMS // (max(1, tiles) * ROWS * widest * x.itemsize)) * widest
    copied, order = scratch(lot * room if copies else 0, x), np.arange(ROWS)
    panel = scratch(most * widest, x)
    tile = scratch(tiles * ROWS * min(many, k_high - k_low + widest), x)
    # Of pixels that follow each other a tile reads a few channels at a time.
    follow = x_steps[1] == 1 and c_size == x_steps[3] and not copies
    for g in range(groups):
        for k_first in range(k_low, k_high, many):
            k_last = min(k_first + many, k_high)
            if first == last:
                tile[:] = 0
            for number in range(first, last):
                stack, piece = divmod(number, pieces)
                n, h = divmod(stack, stacks)
                h, w = h * lines, piece * along
                some, count = min(lines, h_size - h), min(along, w_size - w)
                shift = n * x_steps[0] + h * x_steps[2] + w * x_steps[3] + g * c_size * x_steps[1]
                at = n * dy_steps[0] + h * dy_steps[2] + w * dy_steps[3] + g * k_size * dy_steps[1]
                cells = some * count * c_size // (_LINE // x.itemsize) if follow else 0
                for t_low in range(low, high, lot):
                    t_high = min(t_low + lot, high)
                    if copies:
                        copy_rows(
                            x, x_steps, rows, t_low, t_high, shift, some, count, copied, room
                        )  # fmt: skip
                    k0 = k_first
                    while k0 < k_last:
                        vectors = block_vectors(k_size - k0, lanes)
                        width = vectors * lanes
                        real, begin = min(width, k_size - k0), at + k0 * dy_steps[1]
                        right, jump, step = dy, dy_steps[2], dy_steps[3]
                        # A few lines of the cache a pixel are read where they lie.
                        if dy_steps[1] != 1 or real < width or step * x.itemsize % COMPETING == 0:
                            copy_columns(dy, dy_steps, begin, some, count, real, width, panel)
                            right, begin, jump, step = panel, 0, count * width, width
                        sums = ((k0 - k_first) * tiles + (t_low - low) * width) * ROWS
                        for t in range(t_low, t_high):
                            if k0 == k_first:
                                _ask(x, shift + some * count * x_steps[3], cells, t - low, tiles)
                            left, table, row, across = x, rows, t * ROWS, shift
                            down, along_x = x_steps[2], x_steps[3]
                            if copies:
                                left, table, row, across = copied, order, 0, (t - t_low) * room
                                down, along_x = count * ROWS, ROWS
                            if number == first:
                                multiply(
                                    vectors, left, table, row, across, down, along_x,
                                    right, begin, jump, step, some, count, tile, sums,
                                )  # fmt: skip
                            else:
                                multiply_add(
                                    vectors, left, table, row, across, down, along_x,
                                    right, begin, jump, step, some, count, tile, sums,
                                )  # fmt: skip
                            sums += ROWS * width
                        k0 += width
            count = min(high * ROWS, m_size) - low * ROWS
            k0 = k_first
            while k0 < k_last:
                width = block_vectors(k_size - k0, lanes) * lanes
                to = ((slab * groups + g) * k_size + k0) * m_size + low * ROWS
                at, real = (k0 - k_first) * tiles * ROWS, min(width, k_size - k0)
                transpose(tile, at, width, count, real, dw, to, m_size)
                k0 += width


class _Way(NamedTuple):
    """How a gradient is taken.

    Args:
        split: What threads divide: `_OUTPUTS`, `_ROWS` or `_PIXELS`.
        copies: Whether rows of x are copied.
        lanes: Of a vector.
    """

    split: int
    copies: bool
    lanes: int


def _split(threads: int, tiles: int, vectors: int, pixels: int, copies: bool) -> int:
    """What threads divide: that of which the largest share is the least.

    Counted in vectors of a tile's row. A block's panel costs about a tile, a copied row a third of
    a vector.
    """
    if threads == 1:
        return _OUTPUTS
    own, blocks = -(-tiles // threads), -(-vectors // WIDEST)
    copied = 1 / 3 if copies else 0
    outputs = min(-(-blocks // threads) * WIDEST, vectors) * (tiles + 1) + copied * tiles
    rows = vectors * (own + 1) + copied * own
    # Each slab is written, and read to be added up.
    apart = vectors * tiles / threads * 1.25
    if pixels >= 2 * threads * LONGEST and apart < min(outputs, rows):
        return _PIXELS
    return _OUTPUTS if outputs <= rows else _ROWS


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as `convscape.kernels.cpu.gemm_weight.weight_grad`."""
    if all(w.padding == (0, 0) for w in geometry.windows):
        memory, steps = flat(x)
    else:
        memory, (sn, sh, sw) = padded(x, _padding(geometry), threads)
        steps = sn, 1, sh, sw
    given, given_steps = flat(dy)
    last = is_channels_last(x)
    sizes = len(memory), len(given)
    slabs, launch = _plan(geometry, steps, dy.shape, given_steps, sizes, last, x.itemsize, threads)
    dw = workspace.empty(slabs.count, x.dtype)
    places = workspace.address(memory), workspace.address(given)
    slabs.fill(workspace.address(dw), lambda at: launch(*places, at))
    return weight_shaped(dw, geometry, last)


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, x_shape: tuple[int, ...], dy_shape: tuple[int, ...], dtype: str,
    threads: int,
) -> Bound:  # fmt: skip
    """`weight_grad` of channels-last inputs without gaps, where all but the addresses is known."""
    kind = np.dtype(dtype)
    padding = _padding(geometry)
    n, c, h, w = x_shape
    pads = Pads.of(x_shape, _last(x_shape), padding, kind, threads)
    padded_shape = n, c, h + sum(padding[0]), w + sum(padding[1])
    slabs, launch = _plan(
        geometry, _last(padded_shape), dy_shape, _last(dy_shape),
        (prod(padded_shape), prod(dy_shape)), True, kind.itemsize, threads,
    )  # fmt: skip

    def fill(x: int, dy: int, _packed: int, dw: int, _bias: object, _relu: object) -> None:
        room = None if pads is None else pads(x)  # lives as long as this call
        given = x if room is None else workspace.address(room)
        slabs.fill(dw, lambda at: launch(given, dy, at))

    return Bound((Result.of(geometry.weight_shape, kind, True),), fill)


def _last(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Elements from element to element of a channels-last array without gaps."""
    _, c, h, w = shape
    return h * w * c, 1, w * c, c


@lru_cache(maxsize=1024)
def _plan(
    geometry: Geometry, x_steps: tuple[int, ...], shape: tuple[int, ...],
    dy_steps: tuple[int, ...], sizes: tuple[int, int], last: bool, itemsize: int, threads: int,
) -> tuple[Slabs, Launch]:  # fmt: skip
    """The slabs of sums, and what fills them, told where x, dy and they begin.

    For an input with these steps, padding counted, and dy of this shape and with its steps; of so
    many elements.
    """
    groups, (k, c, r, s), lanes = geometry.groups, geometry.weight_shape, SIMD.lanes(itemsize)
    height, width = geometry.windows
    sn, sc, sh, sw = x_steps
    across = (r, sh * height.dilation), (s, sw * width.dilation)
    rows = _rows((*across, (c, sc)) if last else ((c, sc), *across))
    steps = sn, sc, sh * height.stride, sw * width.stride
    n, _, h, w = shape
    # Lines that follow each other are one.
    joined = all(axis[2] == w * axis[3] for axis in (steps, dy_steps))
    threads = threads if prod(shape) * c * r * s >= _SPLIT_FROM else 1
    copies = COPIES_ROWS and sc == 1 and steps[3] * itemsize % COMPETING == 0
    split = _split(threads, len(rows) // ROWS, -(-k // groups // lanes), n * h * w, copies)
    grid = (n, 1, h * w) if joined else (n, h, w)
    kind, numbers = np.dtype(f"f{itemsize}"), prod(geometry.weight_shape)
    slabs = Slabs.of(threads if split == _PIXELS else 1, numbers, kind, threads)
    return slabs, Launch(
        _weight_part, threads,
        (place(0), place(1), place(2)), (*sizes, slabs.many * numbers), steps,
        dy_steps, rows, grid, (groups, c, k // groups), _Way(split, copies, lanes),
        np.empty(0, kind),
    )  # fmt: skip


def _padding(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    height, width = geometry.windows
    return height.padding, width.padding


def _rows(axes: tuple[tuple[int, int], ...]) -> Array:
    """Where the weights' cells begin to read, whole tiles of them; axes are (cells, step)."""
    counts, steps = zip(*axes, strict=True)
    rows = np.asarray(steps) @ np.indices(counts).reshape(len(axes), -1)
    return np.pad(rows, (0, -len(rows) % ROWS), mode="edge")
