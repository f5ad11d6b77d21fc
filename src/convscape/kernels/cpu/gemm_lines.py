"""The implicit matrix product in plain memory, for few products an output: lanes are pixels.

    y[n, k, h, w] = bias[k] + Σ_{c, r, s} weight[k, c, r, s] x[n, c, h', w']

Rows are output channels, whose weights are read where they lie, and columns are the pixels of an
output line, which are neighbours in plain memory: results go to it from the registers. (The other
way around, with output channels as lanes, they would have to be turned.) A share lays out a few of
the image's lines at a time, for itself, and makes all output channels from them while they are in
its caches.
"""

from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.clip import bounds
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.lines import arrange, fills, lay_out
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.simd_lines import ROWS, VECTORS, correlate_line
from convscape.kernels.cpu.threads import launch

_DEPTH = 256  # products of one sum: longer ones lose digits
_SHORT = 64  # products of a sum after which turning the result is felt
_CHUNK_BYTES = 64 << 10  # of lines that are laid out at a time
_SPLIT_FROM = 1 << 19  # products, about 9 microseconds of one thread


@team
def _lines_part(
    part, parts, x, strides, shape, plan, phases, weight, table, k_size, bias, limits, lanes, grid,
    y,
):  # fmt: skip
    """A share of the output's lines."""
    if divide(part, parts):
        return
    n_size, h_size, w_size = grid
    stride, met, step = plan[2], plan[4], plan[6]
    most = max(1, (_CHUNK_BYTES // (step * x.itemsize) - met) // stride + 1)
    most = min(most, h_size)
    lines = scratch(((most - 1) * stride + met) * step, x)
    tiles = (k_size + ROWS - 1) // ROWS
    # Rows behind the last output channel repeat it: they write the same sums to the same place.
    repeated = np.minimum(np.arange(tiles * ROWS), k_size - 1)
    rows, places, shifts = repeated * len(table), repeated * (h_size * w_size), bias[repeated]
    # As even as can be: in narrow tiles loads take longer than products.
    vectors = (w_size + lanes - 1) // lanes
    blocks = (vectors + VECTORS - 1) // VECTORS
    lower, upper = x.dtype.type(limits[0]), x.dtype.type(limits[1])
    line, last = n_size * h_size * part // parts, n_size * h_size * (part + 1) // parts
    while line < last:
        n, h = divmod(line, h_size)
        some = min(most, last - line, h_size - h)
        lay_out(x, strides, shape, n, plan, phases, h * stride, (some - 1) * stride + met, lines)
        for k in range(0, tiles * ROWS, ROWS):
            for i in range(some):
                to = (n * k_size * h_size + h + i) * w_size
                for block in range(blocks):
                    first, end = vectors * block // blocks, vectors * (block + 1) // blocks
                    w = first * lanes
                    correlate_line(
                        weight, rows, k, 0,
                        lines, i * stride * step + w, table, len(table),
                        y, places, to + w, shifts, w_size - w, lower, upper,
                        end - first,
                    )  # fmt: skip
        line += some


@lru_cache(maxsize=1024)
def fits(geometry: Geometry, width: int, itemsize: int) -> bool:
    """Whether this is the faster way to outputs that lie plain, in lines of this width.

    It is where sums are short, so that turning the results would take as long as making them; and
    as long as a sum is one piece, where a line fills its vectors. Channels in groups are few rows.
    """
    products = prod(geometry.weight_shape[1:])
    filled = fills(width, SIMD.lanes(itemsize))
    return geometry.groups == 1 and (products <= _SHORT or (products <= _DEPTH and filled))


def correlate(
    x: Array,
    weight: Array,
    bias: Array | None,
    relu: bool | float,
    geometry: Geometry,
    y: Array,
    threads: int,
) -> None:
    """Fill outputs in plain memory.

    Args:
        x: (N, C, H, W), any strides.
        weight: (K, C, R, S), any strides.
        bias: (K,), or None.
        relu: Whether negative results become 0; a number is an upper bound beside.
        geometry: The convolution, for which `fits` holds.
        y: (N, K, H', W'), contiguous.
        threads: Threads to use.
    """
    n, k, h, w = y.shape
    lanes = SIMD.lanes(y.itemsize)
    plan, phases, table = arrange(geometry, x.shape[2:], lanes)
    memory, strides = flat(x)
    launch(
        _lines_part, threads if y.size * len(table) >= _SPLIT_FROM else 1,
        memory, strides, x.shape[1:], plan, phases,
        np.ascontiguousarray(weight).reshape(-1), table, k,
        np.zeros(k, y.dtype) if bias is None else np.ascontiguousarray(bias), bounds(relu),
        lanes, (n, h, w), y.reshape(-1),
    )  # fmt: skip
