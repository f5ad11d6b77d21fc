"""The weight gradient of wide maps on the register tile, with nothing copied but the padding.

    dw[k, c, r, s] = Σ_{n, h, w} dy[n, k, h, w] x[n, c, h stride - low + r dilation, ...]

Rows are the (r, s, c) of the weights: each is the address where its pixels begin, and the same
steps lead through x for all of them. Columns are output channels, and the sum runs along the lines
of an image, which must be long enough to pay for reading and writing the tile.
"""

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, padded
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors, multiply_add

_RUN = 512  # pixels of one block of the weight gradient: its x and dy stay in L2


@kernel
def _weight_part(part, parts, x, x_steps, dy, dy_steps, rows, grid, channels, lanes, dw):
    """A share of the rows (r, s, c) of the weight gradient, dw[group][row][output channel]."""
    n_size, h_size, w_size = grid
    groups, c_size, k_size = channels
    m_size = dw.size // (groups * k_size)
    tiles = (m_size + ROWS - 1) // ROWS
    low, high = tiles * part // parts, tiles * (part + 1) // parts
    lines = max(1, _RUN // w_size)
    tile = np.empty((high - low) * ROWS * WIDEST * lanes, x.dtype)
    for g in range(groups):
        k0 = 0
        while k0 < k_size:
            vectors = block_vectors(k_size - k0, lanes)
            width = vectors * lanes
            tile[:] = 0
            for n in range(n_size):
                for h in range(0, h_size, lines):
                    for t in range(low, high):
                        multiply_add(
                            vectors, x, rows, t * ROWS,
                            g * c_size + n * x_steps[0] + h * x_steps[1], x_steps[1], x_steps[2],
                            dy, g * k_size + k0 + n * dy_steps[0] + h * dy_steps[1],
                            dy_steps[1], dy_steps[2],
                            min(lines, h_size - h), w_size, tile, (t - low) * ROWS * width,
                        )  # fmt: skip
            for m in range(low * ROWS, min(high * ROWS, m_size)):
                for j in range(min(width, k_size - k0)):
                    dw[(g * m_size + m) * k_size + k0 + j] = tile[(m - low * ROWS) * width + j]
            k0 += width


@team
def _weight_team(index, parts, *given):
    divide(_weight_part, index, parts, given)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int) -> Array:
    """The gradient by the weight, as `convscape.kernels.cpu.gemm_weight.weight_grad`."""
    groups = geometry.groups
    k, c, r, s = geometry.weight_shape
    height, width = geometry.windows
    memory, (sn, sh, sw) = padded(x, (height.padding, width.padding), threads)
    lanes = SIMD.lanes(x.itemsize)
    # A last vector that is not full reads on into the next pixel, whose products are dropped;
    # behind the last pixel there must be something to read.
    ragged = lanes if (k // groups) % lanes else 0
    dy_memory, dy_steps = padded(dy, ((0, 0), (0, 0)), threads, tail=ragged)
    rows = (
        np.arange(r)[:, None, None] * (sh * height.dilation)
        + np.arange(s)[:, None] * (sw * width.dilation)
        + np.arange(c)
    ).reshape(-1)
    rows = np.pad(rows, (0, -len(rows) % ROWS), mode="edge")
    dw = np.empty(groups * r * s * k * c // groups, x.dtype)
    launch(
        _weight_team, threads,
        memory, (sn, sh * height.stride, sw * width.stride), dy_memory, dy_steps, rows,
        (dy.shape[0], *dy.shape[2:]), (groups, c, k // groups), lanes, dw,
    )  # fmt: skip
    dw = dw.reshape(groups, r, s, c, k // groups).transpose(0, 4, 3, 1, 2)
    return np.ascontiguousarray(dw).reshape(geometry.weight_shape)
