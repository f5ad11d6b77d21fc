"""The weight gradient in plain memory, for few weights an output channel: lanes are pixels.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

A sum runs along the lines of dy and of x, and a vector holds the sums of every lane's pixels: both
are read as they lie, neither is turned. A share lays out a few of the image's lines at a time, for
itself; the sums' lanes are added up at its end.
"""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.lines import arrange, fills, lay_out
from convscape.kernels.cpu.scratch import at_address, scratch
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.simd_lines import ROWS, VECTORS
from convscape.kernels.cpu.simd_sums import add_products, parts_of_sum
from convscape.kernels.cpu.slabs import Slabs
from convscape.kernels.cpu.threads import launch

_FEW = 64  # weights of an output channel for which few pixels will do
_MOST = 256  # weights of an output channel, and
_MANY = 12 << 10  # pixels of an image, from which so many pay
_PIXELS = 1024  # of a chunk: a tile's lines stay in L1
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread


@team
def _weight_part(
    part, parts, x, x_strides, shape, plan, phases, table, dy, dy_strides, channels, each, grid, to,
    numbers,
):  # fmt: skip
    """The gradient's numbers (k, c, r, s), summed over a share of the lines of dy.

    The shares' lie one behind the other from the address `to` on.
    """
    if divide(part, parts):
        return
    n_size, h_size, w_size = grid
    stride, met, step = plan[2], plan[4], plan[6]
    most = max(1, min(h_size, _PIXELS // w_size))
    lines = scratch(((most - 1) * stride + met) * step, x)
    tiles, cells = (channels + ROWS - 1) // ROWS, len(table) // VECTORS
    rows = np.minimum(np.arange(tiles * ROWS), channels - 1) * dy_strides[1]
    block = ROWS * VECTORS * each
    sums = scratch(tiles * cells * block, x)
    sums[:] = 0
    line, last = n_size * h_size * part // parts, n_size * h_size * (part + 1) // parts
    while line < last:
        n, h = divmod(line, h_size)
        some = min(most, last - line, h_size - h)
        lay_out(x, x_strides, shape, n, plan, phases, h * stride, (some - 1) * stride + met, lines)
        at = n * dy_strides[0] + h * dy_strides[2]
        for k in range(tiles):
            for cell in range(cells):
                add_products(
                    dy, rows, k * ROWS, at, dy_strides[2], lines, table, cell * VECTORS, 0,
                    stride * step, some, w_size, sums, (k * cells + cell) * block,
                )  # fmt: skip
        line += some
    dw, count = at_address(to, parts * numbers, x), numbers // channels
    for k in range(channels):
        for cell in range(count):
            tile = k // ROWS * cells + cell // VECTORS
            at = tile * block + (cell % VECTORS * ROWS + k % ROWS) * each
            total = sums[at]
            for i in range(1, each):
                total += sums[at + i]
            dw[(part * channels + k) * count + cell] = total


def fits(geometry: Geometry, grid: tuple[int, int], itemsize: int) -> bool:
    """Whether this is the faster way to a gradient in plain memory, for outputs of this size.

    Lines must fill their vectors. A tile adds few numbers up and is then left for a while; where
    there are many tiles, the pixels must be many as well.
    """
    cells = prod(geometry.weight_shape[1:])
    return (
        geometry.groups == 1
        and prod(geometry.kernel) > 1
        and fills(grid[1], SIMD.lanes(itemsize))
        and (cells <= _FEW or (cells <= _MOST and prod(grid) >= _MANY))
    )


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as `convscape.kernels.cpu.gemm_weight.weight_grad`.

    Args:
        x: (N, C, H, W), the forward input.
        dy: (N, K, H', W'), the pixels of a line neighbours in memory.
        geometry: The forward convolution, not in groups.
        threads: Threads to use.

    Returns:
        (K, C, R, S), in plain memory.
    """
    lanes = SIMD.lanes(x.itemsize)
    plan, phases, table = _arrange(geometry, x.shape[2:], lanes)
    k, *cells = geometry.weight_shape
    n, _, h, w = dy.shape
    memory, strides = flat(x)
    given, dy_strides = flat(dy)
    shares = threads if dy.size * prod(cells) >= _SPLIT_FROM else 1
    slabs = Slabs.of(shares, k * prod(cells), x.dtype, threads)

    def fill(at: int) -> None:
        launch(
            _weight_part, shares,
            memory, strides, x.shape[1:], plan, phases, table, given, dy_strides, k,
            parts_of_sum(lanes), (n, h, w), at, slabs.count,
        )  # fmt: skip

    dw = workspace.empty(slabs.count, x.dtype)
    slabs.fill(workspace.address(dw), fill)
    return dw.reshape(k, *cells)


@lru_cache(maxsize=1024)
def _arrange(geometry: Geometry, spatial: tuple[int, int], lanes: int) -> tuple[Any, Array, Array]:
    """As `lines.arrange`, with distances for whole tiles: the last one is repeated."""
    plan, phases, distances = arrange(geometry, spatial, lanes)
    return plan, phases, np.pad(distances, (0, -len(distances) % VECTORS), mode="edge")
