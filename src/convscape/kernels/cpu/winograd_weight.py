"""The weight gradient by the adjoint of Winograd's F(4x4, 3x3) or F(2x2, 5x5).

    dg = G^T [ Σ_tiles (A dy A^T) ⊙ (B^T d B) ] G

Tiles are taken in chunks. Each thread has output channels of its own: it transforms a chunk's tiles
of those, then of the input channels one block after the other, and of each pair of blocks takes 36
matrix products whose sum runs over tiles, and transforms the sums. Threads transform the input each
for itself: points that go from core to core take longer than to compute them twice. With few
channels `winograd_weight_few` keeps everything in each core's own cache.
"""

from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import caches, winograd_weight_few
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, is_channels_last, padded, weight_shaped
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.winograd_tiles import plane_of, row_of, spread_input, spread_output
from convscape.kernels.cpu.winograd_weight_cells import put_cells, room_for_cells

_BLOCK = 8 * ROWS  # output channels of one block: its sums are 432 KiB
_TILES = 32  # tiles of a piece of a sum, about: points stay in L1; longer ones lose digits
_MOST_POINTS = 6 << 20  # bytes of a chunk's points; half a core's share of L3 where that is less
_FEW_BYTES = 2304 << 10  # sums of all channels that each core keeps near, in L2 or a share of L3
_FEW_TILES = 96  # tiles of a thread that pay for transforming all its sums


@team
def _wide_part(
    part, parts, edge, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, first,
    count, last, add, dw,
):  # fmt: skip
    """The gradient from the tiles [first, first + count), or added to it.

    A share of the output channels. Its order is what `put_cells` says of `last`.
    """
    if divide(part, parts):
        return
    c_size, k_size = channels
    lots = (k_size + ROWS - 1) // ROWS
    low, high = lots * part // parts * ROWS, lots * (part + 1) // parts * ROWS
    if low == high:
        return
    real_high, widest = min(high, k_size), WIDEST * lanes
    k_row = row_of(high - low, lanes)
    c_plane, k_plane = plane_of(count, widest, lanes), plane_of(count, k_row, lanes)
    spread = scratch(36 * c_plane, dw)
    # A tile of registers may read on behind the last row; what it makes of that is dropped.
    given = scratch(36 * k_plane + _BLOCK, dw)
    spread_output(
        edge, dy, dy_strides, low, real_high - low, grid, first, count, k_row, k_plane, given
    )
    # The sums of one block stay in L2 until they are transformed.
    sums = scratch(36 * (_BLOCK * widest + lanes), dw)
    line = room_for_cells(edge, dw, lanes)
    pieces = max(1, (count + _TILES // 2) // _TILES)
    c0 = 0
    while c0 < c_size:
        vectors = block_vectors(c_size - c0, lanes)
        width = vectors * lanes
        real = min(width, c_size - c0)
        spread_input(
            edge, x, strides, size, c0, real, corner, grid, first, count, width, c_plane, spread
        )
        for k0 in range(low, high, _BLOCK):
            rows = np.arange(k0 - low, k0 - low + _BLOCK)
            many = min(_BLOCK, high - k0)
            plane = many * width + lanes
            for e in range(36):
                for piece in range(pieces):
                    start = count * piece // pieces
                    depth = count * (piece + 1) // pieces - start
                    at, b = e * k_plane + start * k_row, e * c_plane + start * width
                    for k in range(0, many, ROWS):
                        if start == 0:
                            multiply(
                                vectors, given, rows, k, at, 0, k_row, spread, b, 0, width, 1,
                                depth, sums, e * plane + k * width,
                            )  # fmt: skip
                        else:
                            multiply_add(
                                vectors, given, rows, k, at, 0, k_row, spread, b, 0, width, 1,
                                depth, sums, e * plane + k * width,
                            )  # fmt: skip
            for k in range(min(many, k_size - k0)):
                put_cells(
                    edge, last, add, sums, k * width, plane, k0 + k, c0, c_size, real, lanes, line,
                    dw,
                )  # fmt: skip
        c0 += width


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`.

    It lies in channels-last memory when x does.
    """
    n, c, h, w = x.shape
    last = is_channels_last(x)
    k, *outputs = dy.shape[1:]
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    lanes, channels, edge = SIMD.lanes(x.itemsize), (c, k), 7 - geometry.kernel[0]
    corner = tuple(w.padding[0] for w in geometry.windows)
    memory, strides = padded(x, ((0, 0), (0, 0)), threads)
    dy_memory, dy_strides = padded(dy, ((0, 0), (0, 0)), threads)
    tiles = n * -(-outputs[0] // edge) * -(-outputs[1] // edge)
    if 36 * x.itemsize * c * k <= _FEW_BYTES and tiles >= _FEW_TILES * threads:
        dw = winograd_weight_few.weight_grad(
            edge, memory, strides, (h, w), dy_memory, dy_strides, channels, lanes, corner,
            (n, *outputs), last, threads,
        )  # fmt: skip
        return weight_shaped(dw, geometry, last)
    # As many tiles at once as fit the last level of the cache, where each block of input channels
    # finds their points again; chunks of one size.
    row = WIDEST * lanes + -(-k // threads)
    most = min(_MOST_POINTS, caches.core_share() // 2) // (36 * x.itemsize * row)
    chunk = -(-tiles // -(-tiles // max(_TILES, most)))
    dw = workspace.empty(prod(geometry.weight_shape), x.dtype)
    for first in range(0, tiles, chunk):
        launch(
            _wide_part, threads,
            edge, memory, strides, (h, w), dy_memory, dy_strides, channels, lanes, corner,
            (n, *outputs), first, min(chunk, tiles - first), last, first > 0, dw,
        )  # fmt: skip
    return weight_shaped(dw, geometry, last)
