"""Winograd's weight gradient for few channels, where each core keeps sums over tiles of its own.

Each thread takes a share of the tiles. It transforms a few of them, whose points stay in L2 as
well, adds their products to sums of its own, and goes on; at the end it transforms its sums once.
So points, of which large images have many, never leave the core.
"""

import numpy as np

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch_run
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.simd import ROWS
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.winograd_tiles import plane_of, row_of, spread_input, spread_output
from convscape.kernels.cpu.winograd_transforms import edge_of, points_of
from convscape.kernels.cpu.winograd_weight_cells import put_cells, room_for_cells

TILES = 24
"""Tiles of one chunk, and of one piece of a sum."""

_NEAR = 1 << 20  # bytes of sums that stay near; of more the next ones are asked for


@team
def few_part(
    part, parts, form, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, last, dw
):
    """The gradient from a share of the tiles, of which each share has some, at dw[part].

    Args:
        part: Number of the share.
        parts: Shares, each with sums of its own.
        form: Number of the transforms' form.
        x: The input's memory, channels-last.
        strides: Its strides of n, h and w in elements.
        size: (H, W) of the input.
        dy: The memory of the output's gradient, channels-last.
        dy_strides: Its strides of n, h and w.
        channels: Input and output channels.
        lanes: Elements of a vector.
        corner: What the first tile reads of padding above and on the left.
        grid: (n, h, w) of the output.
        last: Whether the gradient is (k, side, side, c), or (k, c, side, side).
        dw: The gradients of all shares.
    """
    if divide(part, parts):
        return
    c_size, k_size = channels
    edge, points = edge_of(form), points_of(form)
    tiles = grid[0] * ((grid[1] + edge - 1) // edge) * ((grid[2] + edge - 1) // edge)
    first, end = tiles * part // parts, tiles * (part + 1) // parts
    c_row, k_row = row_of(c_size, lanes), row_of(k_size, lanes)
    many, widest = (k_size + ROWS - 1) // ROWS * ROWS, WIDEST * lanes
    # A tile of registers may read on behind the last row; what it makes of that is dropped.
    spread = scratch(points * plane_of(TILES, c_row, lanes) + widest, x)
    given = scratch(points * plane_of(TILES, k_row, lanes) + ROWS, x)
    plane = many * ((c_size + lanes - 1) // lanes * lanes + widest) + lanes
    sums = scratch(points * plane, x)
    spread[:], given[:] = 0, 0
    asks = sums.nbytes > _NEAR
    rows = np.arange(many)
    line = room_for_cells(form, x, lanes)
    for start in range(first, end, TILES):
        count = min(TILES, end - start)
        c_plane, k_plane = plane_of(count, c_row, lanes), plane_of(count, k_row, lanes)
        spread_input(
            form, x, strides, size, 0, c_size, corner, grid, start, count, c_row, c_plane, spread
        )
        spread_output(form, dy, dy_strides, 0, k_size, grid, start, count, k_row, k_plane, given)
        for e in range(points):
            c0 = 0
            while c0 < c_size:
                vectors = block_vectors(c_size - c0, lanes)
                tile = ROWS * vectors * lanes
                for k in range(0, many, ROWS):
                    at = e * plane + many * c0 + k * vectors * lanes
                    if asks:
                        fetch_run(sums, at + tile, tile)
                    if start == first:
                        multiply(
                            vectors, given, rows, k, e * k_plane, 0, k_row, spread,
                            e * c_plane + c0, 0, c_row, 1, count, sums, at,
                        )  # fmt: skip
                    else:
                        multiply_add(
                            vectors, given, rows, k, e * k_plane, 0, k_row, spread,
                            e * c_plane + c0, 0, c_row, 1, count, sums, at,
                        )  # fmt: skip
                c0 += vectors * lanes
    c0 = 0
    while c0 < c_size:
        width = block_vectors(c_size - c0, lanes) * lanes
        real = min(width, c_size - c0)
        for k in range(k_size):
            put_cells(
                form, last, False, sums, many * c0 + k * width, plane, part * k_size + k, c0,
                c_size, real, lanes, line, dw,
            )  # fmt: skip
        c0 += width
