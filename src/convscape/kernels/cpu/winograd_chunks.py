"""Winograd's forward pass where the kernels' points fit the caches: made once, for all tiles.

Tiles are taken in chunks. The kernels' points are read once for each, from a cache that gives less
than the multipliers take: a chunk is large enough to make up for it, its points and those of its
products stay in L2 where channels are few, and while a panel of the kernels' points is multiplied
the next one is asked for, and what the chunk will write.
"""

from typing import Any

import numpy as np

from convscape.kernels.cpu.bound import Launch, lies_at, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch_run
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.tile import block_vectors, multiply, multiply_add
from convscape.kernels.cpu.winograd_call import BIAS, ROOM, WEIGHT, X, Y
from convscape.kernels.cpu.winograd_form import LEAST, NEAR, Form
from convscape.kernels.cpu.winograd_kernels import block_points, turning_block
from convscape.kernels.cpu.winograd_tiles import ask_for_output, spread_input, store_tile
from convscape.kernels.cpu.winograd_transforms import edge_of, points_of

_DEPTH = 32  # channels of one piece of a sum: longer ones lose digits


@team
def _kernel_part(part, parts, places, sizes, form, strides, flip, channels, lanes, like):
    """Points [point][block][c][lane] of (k, c, side, side) weights; a share of the input channels.

    `places` says where the weights and the points begin, `sizes` how many elements of like's type
    they have.
    """
    if divide(part, parts):
        return
    weight, points = at_address(places[0], sizes[0], like), at_address(places[1], sizes[1], like)
    c_size, k_size = channels
    wide = (k_size + lanes - 1) // lanes * lanes
    low, high = c_size * part // parts, c_size * (part + 1) // parts
    block = turning_block(form, weight, lanes)
    k0 = 0
    while k0 < k_size:
        width = block_vectors(k_size - k0, lanes) * lanes
        for c0 in range(low, high, _DEPTH):
            block_points(
                form, weight, strides, flip, c0, min(_DEPTH, high - c0), k0,
                min(width, k_size - k0), width, lanes, block, points, k0 * c_size + c0 * width,
                wide * c_size + lanes,
            )  # fmt: skip
        k0 += width


@team
def _forward_part(
    part, parts, places, sizes, form, strides, size, channels, bias, relu, lanes, grid, corner,
    chunk,
):  # fmt: skip
    """A share of the output tiles: transform, a matrix product a point and back, chunk by chunk.

    `places` says where the input, the kernels' points and y begin, `sizes` how many elements they
    have.
    """
    if divide(part, parts):
        return
    x, points = at_address(places[0], sizes[0], bias), at_address(places[1], sizes[1], bias)
    y = at_address(places[2], sizes[2], bias)
    n_size, h_size, w_size = grid
    c_size, k_size = channels
    edge, many_points = edge_of(form), points_of(form)
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    tiles = n_size * down * across
    first, last = tiles * part // parts, tiles * (part + 1) // parts
    wide = (k_size + lanes - 1) // lanes * lanes
    # The planes lie one cache line off a multiple of the page, or they would all compete for
    # the same few sets of the cache.
    plane, result, step = chunk * c_size + lanes, chunk * wide + lanes, wide * c_size + lanes
    spread, products = scratch(many_points * plane, x), scratch(many_points * result, x)
    block = scratch(edge * edge * wide, x)
    gathered = np.arange(many_points) * result
    placed, blocked = np.empty(edge * edge, np.int64), np.empty(edge * edge, np.int64)
    for o in range(edge * edge):
        placed[o] = (o // edge * w_size + o % edge) * k_size
        blocked[o] = o * wide
    rows = np.arange(chunk) * c_size
    blocks = (last - first + ROWS - 1) // ROWS
    turns = (blocks * ROWS + chunk - 1) // chunk
    for turn in range(turns):  # chunks of about one size
        start = first + blocks * turn // turns * ROWS
        count = min(first + blocks * (turn + 1) // turns * ROWS, last) - start
        spread_input(
            form, x, strides, size, 0, c_size, corner, grid, start, count, c_size, plane, spread
        )
        late = many_points // 2
        for e in range(many_points):
            # While the later half is multiplied, the chunk's outputs are asked for.
            low, high = max(0, e - late), max(0, e + 1 - late)
            ask_for_output(
                form, y, k_size, grid, start + count * low // (many_points - late),
                start + count * high // (many_points - late),
            )  # fmt: skip
            k0 = 0
            while k0 < k_size:
                vectors = block_vectors(k_size - k0, lanes)
                width = vectors * lanes
                b = e * step + k0 * c_size
                for c0 in range(0, c_size, _DEPTH):
                    depth = min(_DEPTH, c_size - c0)
                    at, by = e * plane + c0, b + c0 * width
                    # Of the panel behind this one each block of rows asks for its share.
                    share, ahead = depth * width * ROWS // max(count, ROWS), by + depth * width
                    for t in range(0, count, ROWS):
                        fetch_run(points, ahead + t // ROWS * share, share)
                        to = e * result + k0 * chunk + t * width
                        if c0 == 0:
                            multiply(
                                vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1, depth,
                                products, to,
                            )  # fmt: skip
                        else:
                            multiply_add(
                                vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1, depth,
                                products, to,
                            )  # fmt: skip
                k0 += width
        for t in range(count):
            line, tx = divmod(start + t, across)
            n, ty = divmod(line, down)
            corner_at = ((n * h_size + ty * edge) * w_size + tx * edge) * k_size
            k0 = 0
            while k0 < k_size:
                width = block_vectors(k_size - k0, lanes) * lanes
                store_tile(
                    form, products, k0 * chunk + t * width, gathered, y, corner_at + k0, placed,
                    min(width, k_size - k0), bias, k0, relu, ty * edge, tx * edge,
                    (h_size, w_size), block, blocked,
                )  # fmt: skip
                k0 += width


def launches(
    sizes: tuple[int, int, int], points: int, form: Form, x_strides: tuple[int, int, int],
    size: tuple[int, int], weight_strides: tuple[int, ...], flip: bool, channels: tuple[int, int],
    dtype: np.dtype[Any], relu: bool, grid: tuple[int, int, int], corner: tuple[int, int],
    threads: int,
) -> list[Launch]:  # fmt: skip
    """As `convscape.kernels.cpu.winograd_deep.launches`, which says what the arguments are.

    They are also told where the kernels' points lie, of which there are so many elements.
    """
    lanes, bias = SIMD.lanes(dtype.itemsize), lies_at(BIAS, channels[1], dtype)
    made = Launch(
        _kernel_part, threads,
        (place(WEIGHT), place(ROOM)), (sizes[1], points), form.number, weight_strides, flip,
        channels, lanes, bias,
    )  # fmt: skip
    used = Launch(
        _forward_part, threads,
        (place(X), place(ROOM), place(Y)), (sizes[0], points, sizes[2]), form.number, x_strides,
        size, channels, bias, relu, lanes, grid, corner, _chunk(form, channels, dtype.itemsize),
    )  # fmt: skip
    return [made, used]


def _chunk(form: Form, channels: tuple[int, int], itemsize: int) -> int:
    """Tiles of one chunk, whole blocks of rows."""
    fitting = NEAR // (form.points * itemsize * sum(channels))
    return max(LEAST, fitting) // ROWS * ROWS
