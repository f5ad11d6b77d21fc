"""Winograd's points of the kernels, from weights in any order of axes.

The points of a block of output channels lie as [36][c][lane]: output channels must become
neighbours. In Keras's order of axes they are; in PyTorch's, plain or channels-last, a block of
kernels is turned in registers first.
"""

import numpy as np

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.tile import WIDEST
from convscape.kernels.cpu.transpose import transpose, transpose_narrow
from convscape.kernels.cpu.winograd_transforms import kernel_points

RUN = 16
"""Input channels whose kernels are turned and transformed at once."""


@kernel
def turning_block(edge, weight, lanes):
    """Room for the kernels that `block_points` turns."""
    return np.zeros((7 - edge) ** 2 * RUN * WIDEST * lanes, weight.dtype)


@kernel
def block_points(
    edge, weight, strides, flip, first, channels, k0, real, width, block, scratch, points, to, step
):
    """Set points[to + e step + (c - first) width + j] for `channels` input channels c from `first`.

    Weights are (k, c, side, side), side = 7 - edge, with these strides; j runs over `real`
    output channels from k0 on, and the lanes behind them become 0. With `flip` the kernels are
    reversed.
    """
    sk, sc, sr, ss = strides
    side = 7 - edge
    cells = side * side
    reads, direct, writes = (
        np.empty(cells, np.int64),
        np.empty(cells, np.int64),
        np.empty(36, np.int64),
    )
    for e in range(36):
        writes[e] = to + e * step
    for t in range(cells):
        cell = cells - 1 - t if flip else t
        reads[t] = cell * width
        direct[t] = cell // side * sr + cell % side * ss
    plain = sr == side * ss and ss == 1
    for start in range(first, first + channels, RUN):
        run = min(RUN, first + channels - start)
        at, out = k0 * sk + start * sc, (start - first) * width
        if sk == 1 and real == width:
            for c in range(run):
                kernel_points(
                    edge, weight, at + c * sc, direct, points, out + c * width, writes, width
                )
            continue
        if plain and sc == cells:
            transpose(weight, at, sk, real, run * cells, block, 0, width)
        elif plain and sk == cells:
            for c in range(run):
                transpose_narrow(
                    weight,
                    at + c * sc,
                    cells,
                    real,
                    cells,
                    block,
                    c * cells * width,
                    width,
                    scratch,
                )
        elif sc == 1:
            for t in range(cells):
                source = at + t // side * sr + t % side * ss
                transpose(weight, source, sk, real, run, block, t * width, cells * width)
        else:
            for c in range(run):
                for t in range(cells):
                    source = weight[at + c * sc + t // side * sr + t % side * ss :]
                    line = block[(c * cells + t) * width : (c * cells + t) * width + real]
                    for j in range(real):
                        line[j] = source[j * sk]
        for c in range(run):
            for t in range(cells):
                block[(c * cells + t) * width + real : (c * cells + t + 1) * width] = 0
            kernel_points(
                edge, block, c * cells * width, reads, points, out + c * width, writes, width
            )
