"""The weight gradient by the adjoint of Winograd's F(4x4, 3x3), F(2x2, 3x3) or F(2x2, 5x5).

    dg = G^T [ Σ_tiles (A dy A^T) ⊙ (B^T d B) ] G

Tiles are taken in chunks. Each thread has output channels of its own: it transforms a chunk's tiles
of those, then of the input channels one block after the other, and of each pair of blocks takes a
matrix product a point, whose sum runs over tiles, and transforms the sums. Threads transform the
input each for itself: points that go from core to core take longer than to compute them twice. With
few channels `winograd_weight_few` keeps everything in each core's own cache.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import caches
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, Result, lies_at
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.fetch import fetch_run
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import (
    Array,
    is_channels_last,
    order_of,
    padded,
    weight_shaped,
)
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.slabs import Slabs
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply, multiply_add
from convscape.kernels.cpu.winograd_form import form_of
from convscape.kernels.cpu.winograd_tiles import plane_of, row_of, spread_input, spread_output
from convscape.kernels.cpu.winograd_transforms import points_of
from convscape.kernels.cpu.winograd_weight_cells import put_cells, room_for_cells
from convscape.kernels.cpu.winograd_weight_few import few_part

_BLOCK = 8 * ROWS  # output channels of one block: its sums are 432 KiB
_TILES = 32  # tiles of a piece of a sum, about: points stay in L1; longer ones lose digits
_MOST_POINTS = 6 << 20  # bytes of a chunk's points; half a core's share of L3 where that is less
_FEW_BYTES = 2304 << 10  # sums of all channels that each core keeps near, in L2 or a share of L3
_FEW_TILES = 96  # tiles of a thread that pay for transforming all its sums


@team
def _wide_part(
    part, parts, form, x, strides, size, dy, dy_strides, channels, lanes, corner, grid, first,
    count, last, add, dw,
):  # fmt: skip
    """The gradient from the tiles [first, first + count), or added to it.

    A share of the output channels. Its order is what `put_cells` says of `last`.
    """
    if divide(part, parts):
        return
    c_size, k_size = channels
    points = points_of(form)
    lots = (k_size + ROWS - 1) // ROWS
    low, high = lots * part // parts * ROWS, lots * (part + 1) // parts * ROWS
    if low == high:
        return
    real_high, widest = min(high, k_size), WIDEST * lanes
    k_row = row_of(high - low, lanes)
    c_plane, k_plane = plane_of(count, widest, lanes), plane_of(count, k_row, lanes)
    spread = scratch(points * c_plane, dw)
    # A tile of registers may read on behind the last row; what it makes of that is dropped.
    given = scratch(points * k_plane + _BLOCK, dw)
    spread_output(
        form, dy, dy_strides, low, real_high - low, grid, first, count, k_row, k_plane, given
    )
    # The sums of one block stay in L2 until they are transformed.
    sums = scratch(points * (_BLOCK * widest + lanes), dw)
    line = room_for_cells(form, dw, lanes)
    pieces = max(1, (count + _TILES // 2) // _TILES)
    c0 = 0
    while c0 < c_size:
        vectors = block_vectors(c_size - c0, lanes)
        width = vectors * lanes
        real = min(width, c_size - c0)
        spread_input(
            form, x, strides, size, c0, real, corner, grid, first, count, width, c_plane, spread
        )
        for k0 in range(low, high, _BLOCK):
            rows = np.arange(k0 - low, k0 - low + _BLOCK)
            many = min(_BLOCK, high - k0)
            plane = many * width + lanes
            for e in range(points):
                for piece in range(pieces):
                    start = count * piece // pieces
                    depth = count * (piece + 1) // pieces - start
                    at, b = e * k_plane + start * k_row, e * c_plane + start * width
                    # Of dy's next points each block of rows asks for those of a few tiles.
                    few, asked = (depth * ROWS + many - 1) // many, 0
                    ahead = at + k_plane + k0 - low
                    for k in range(0, many, ROWS):
                        for i in range(asked, min(asked + few, depth)):
                            fetch_run(given, ahead + i * k_row, many)
                        asked += few
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
                    form, last, add, sums, k * width, plane, k0 + k, c0, c_size, real, lanes, line,
                    dw,
                )  # fmt: skip
        c0 += width


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as in `convscape.kernels.cpu.gemm.weight_grad`.

    It lies in channels-last memory when x does.
    """
    last = is_channels_last(x)
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    memory, dy_memory = (padded(t, ((0, 0), (0, 0)), threads)[0] for t in (x, dy))
    launches, slabs = _launches(geometry, x.shape, dy.shape, last, x.dtype, threads)
    dw = workspace.empty(slabs.count, x.dtype)
    places = workspace.address(memory), workspace.address(dy_memory)
    slabs.fill(workspace.address(dw), lambda at: _run(launches, *places, at))
    return weight_shaped(dw, geometry, last)


def _run(launches: list[Launch], *places: int) -> None:
    for launch in launches:
        launch(*places)


@lru_cache(maxsize=1024)
def bind_weight(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    dy_shape: tuple[int, ...], dy_strides: tuple[int, ...], dtype: str, threads: int,
) -> Bound | None:  # fmt: skip
    """`weight_grad`, as `convscape.kernels.cpu.gemm.bind_weight`."""
    if (order_of(shape, strides), order_of(dy_shape, dy_strides)) != (True, True):
        return None
    kind = np.dtype(dtype)
    launches, slabs = _launches(geometry, tuple(shape), tuple(dy_shape), True, kind, threads)

    def fill(x: int, dy: int, _packed: int, dw: int, _bias: object, _relu: object) -> None:
        slabs.fill(dw, lambda at: _run(launches, x, dy, at))

    return Bound((Result.of(geometry.weight_shape, kind, True),), fill)


@lru_cache(maxsize=1024)
def _launches(
    geometry: Geometry, shape: tuple[int, ...], dy: tuple[int, ...], last: bool,
    dtype: np.dtype[Any], threads: int,
) -> tuple[list[Launch], Slabs]:  # fmt: skip
    """What computes a gradient from channels-last memory, told where x, dy and the sums begin.

    And the slabs of its sums.
    """
    n, c, h, w = shape
    k, *grid = dy[1:]
    form, lanes = form_of(geometry, n, (h, w), tuple(grid)), SIMD.lanes(dtype.itemsize)
    tiles, size = form.tiles(n, tuple(grid)), form.points * dtype.itemsize
    few = size * c * k <= _FEW_BYTES and tiles >= _FEW_TILES * threads
    slabs = Slabs.of(threads if few else 1, prod(geometry.weight_shape), dtype, threads)
    sums = lies_at(2, slabs.many * slabs.count, dtype)
    given = (
        form.number, lies_at(0, prod(shape), dtype), (h * w * c, w * c, c), (h, w),
        lies_at(1, prod(dy), dtype), (prod(grid) * k, grid[1] * k, k), (c, k), lanes,
        tuple(axis.padding[0] - form.inner for axis in geometry.windows), (n, *grid),
    )  # fmt: skip
    if few:
        return [Launch(few_part, threads, *given, last, sums)], slabs
    # As many tiles at once as fit the last level of the cache, where each block of input channels
    # finds their points again; chunks of one size.
    row = WIDEST * lanes + -(-k // threads)
    most = min(_MOST_POINTS, caches.core_share() // 2) // (size * row)
    chunk = -(-tiles // -(-tiles // max(_TILES, most)))
    wide = [
        Launch(_wide_part, threads, *given, first, min(chunk, tiles - first), last, first > 0, sums)
        for first in range(0, tiles, chunk)
    ]
    return wide, slabs
