"""Winograd's forward pass for many channels, where the kernels' points are larger than the caches.

Threads have tiles of their own, or output channels. With channels of its own each transforms all
tiles, with tiles all kernels: points that go from core to core take longer than to compute them
twice. Of a block of output channels a thread transforms the kernels of some input channels, which
fit in L2, and multiplies all its tiles with them at once. So the points of the kernels, larger than
the weights, never go through memory. The tiles' points may: those of the next rows are asked for
while the present ones are multiplied.
"""

from typing import Any

import numpy as np

from convscape.kernels.cpu.bound import Launch, lies_at, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch_run
from convscape.kernels.cpu.gemm_segments import own_channels
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply_add_few, multiply_few
from convscape.kernels.cpu.winograd_call import BIAS, WEIGHT, X, Y, division
from convscape.kernels.cpu.winograd_form import Form
from convscape.kernels.cpu.winograd_kernels import block_points, turning_block
from convscape.kernels.cpu.winograd_tiles import spread_input, store_tile
from convscape.kernels.cpu.winograd_transforms import edge_of, points_of

_DEPTH = 32  # input channels of one piece of a sum: longer ones lose digits


@team
def _multiply_part(
    part, parts, places, sizes, form, x_strides, size, strides, flip, channels, bias, relu, lanes,
    grid, corner, first, last, by_tiles,
):  # fmt: skip
    """Of the tiles [first, last) a share, or of their output channels.

    `places` says where the input, the weights and y begin, `sizes` how many elements they have.
    """
    if divide(part, parts):
        return
    x, weight = at_address(places[0], sizes[0], bias), at_address(places[1], sizes[1], bias)
    y = at_address(places[2], sizes[2], bias)
    c_size, k_size = channels
    _, h_size, w_size = grid
    edge, many_points = edge_of(form), points_of(form)
    down, across = (h_size + edge - 1) // edge, (w_size + edge - 1) // edge
    k0, end = own_channels(part, parts, k_size, lanes, not by_tiles, True)
    if by_tiles:
        many = last - first
        first, last = first + many * part // parts, first + many * (part + 1) // parts
    count = last - first
    if k0 == end or count == 0:
        return
    widest = WIDEST * lanes
    tiles = (count + ROWS - 1) // ROWS * ROWS
    # Planes lie one cache line off a multiple of the page, as in `winograd`.
    plane, result, step = count * c_size + lanes, tiles * widest + lanes, _DEPTH * widest + lanes
    spread = scratch(many_points * plane, y)
    spread_input(
        form, x, x_strides, size, 0, c_size, corner, grid, first, count, c_size, plane, spread
    )
    products, points = scratch(many_points * result, y), scratch(many_points * step, y)
    block = turning_block(form, weight, lanes)
    border = scratch(edge * edge * widest, y)
    gathered = np.arange(many_points) * result
    placed, bordered = np.empty(edge * edge, np.int64), np.arange(edge * edge) * widest
    for o in range(edge * edge):
        placed[o] = (o // edge * w_size + o % edge) * k_size
    # The rows behind the last tile repeat it; their products are dropped.
    rows = np.minimum(np.arange(tiles + ROWS), count - 1) * c_size
    # Behind the last rows of a plane come the first ones of the next: what is to be fetched.
    rows[tiles:] = rows[:ROWS] + plane
    while k0 < end:
        vectors = block_vectors(end - k0, lanes)
        width = vectors * lanes
        real = min(width, end - k0)
        for c0 in range(0, c_size, _DEPTH):
            depth = min(_DEPTH, c_size - c0)
            block_points(
                form, weight, strides, flip, c0, depth, k0, real, width, lanes,
                block, points, 0, step,
            )  # fmt: skip
            for e in range(many_points):
                at, by = e * plane + c0, e * step
                for t in range(0, tiles, ROWS):
                    to = e * result + t * width
                    for i in range(t + ROWS, t + 2 * ROWS):
                        fetch_run(spread, rows[i] + at, depth)
                    if c0 == 0:
                        multiply_few(
                            count - t, vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1,
                            depth, products, to,
                        )  # fmt: skip
                    else:
                        multiply_add_few(
                            count - t, vectors, spread, rows, t, at, 0, 1, points, by, 0, width, 1,
                            depth, products, to,
                        )  # fmt: skip
        for t in range(count):
            line, tx = divmod(first + t, across)
            n, ty = divmod(line, down)
            to = ((n * h_size + ty * edge) * w_size + tx * edge) * k_size + k0
            store_tile(
                form, products, t * width, gathered, y, to, placed, real, bias, k0, relu,
                ty * edge, tx * edge, (h_size, w_size), border, bordered,
            )  # fmt: skip
        k0 += width


def launches(
    sizes: tuple[int, int, int], form: Form, x_strides: tuple[int, int, int],
    size: tuple[int, int], weight_strides: tuple[int, ...], flip: bool, channels: tuple[int, int],
    dtype: np.dtype[Any], relu: bool, grid: tuple[int, int, int], corner: tuple[int, int],
    threads: int,
) -> list[Launch]:  # fmt: skip
    """What fills flat channels-last y (n, h, w, k) from flat channels-last x and the kernels.

    Told the addresses of x, the weights, y and the bias, (k,).

    Args:
        sizes: Elements of x, the weights and y.
        form: Of the transforms.
        x_strides: The input's strides of n, h and w in elements.
        size: (H, W) of the input.
        weight_strides: The weights' strides of k, c, r and s.
        flip: Whether the kernels are reversed.
        channels: Input and output channels.
        dtype: Of all of them.
        relu: Whether negative results become 0.
        grid: (n, h, w) of the output.
        corner: What the first tile reads of padding above and on the left.
        threads: Threads to use.
    """
    lanes, bias = SIMD.lanes(dtype.itemsize), lies_at(BIAS, channels[1], dtype)
    tiles = form.tiles(grid[0], grid[1:])
    by_tiles, most = division(tiles, channels[1], threads)
    chunk = -(-tiles // -(-tiles // most))  # chunks of one size
    return [
        Launch(
            _multiply_part, threads,
            (place(X), place(WEIGHT), place(Y)), sizes, form.number, x_strides, size,
            weight_strides, flip, channels, bias, relu, lanes, grid, corner, first,
            min(first + chunk, tiles), by_tiles,
        )
        for first in range(0, tiles, chunk)
    ]  # fmt: skip
