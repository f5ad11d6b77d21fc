"""Winograd's points of the kernels, from weights in any order of axes.

The points of a block of output channels lie as [36][c][lane]: output channels must become
neighbours. In Keras's order of axes they are; in PyTorch's, plain or channels-last, a block of
kernels is turned in registers first.
"""

import numpy as np

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.tile import WIDEST
from convscape.kernels.cpu.transpose import transpose, transpose_narrow
from convscape.kernels.cpu.winograd_points import kernel_tile

RUN = 16
"""Input channels whose kernels are turned and transformed at once."""


@kernel
def turning_block(weight, lanes):
    """Room for the kernels that `block_points` turns."""
    return np.zeros(9 * RUN * WIDEST * lanes, weight.dtype)


@kernel
def block_points(
    weight, strides, flip, first, channels, k0, real, width, block, scratch, points, to, step
):
    """Set points[to + e step + (c - first) width + j] for `channels` input channels c from `first`.

    Weights are (k, c, 3, 3) with these strides; j runs over `real` output channels from k0 on, and
    the lanes behind them become 0. With `flip` the kernels are reversed.
    """
    sk, sc, sr, ss = strides
    reads, direct, writes = np.empty(9, np.int64), np.empty(9, np.int64), np.empty(36, np.int64)
    for e in range(36):
        writes[e] = to + e * step
    for t in range(9):
        cell = 8 - t if flip else t
        reads[t] = cell * width
        direct[t] = cell // 3 * sr + cell % 3 * ss
    plain = sr == 3 * ss and ss == 1
    for start in range(first, first + channels, RUN):
        run = min(RUN, first + channels - start)
        at, out = k0 * sk + start * sc, (start - first) * width
        if sk == 1 and real == width:
            for c in range(run):
                kernel_tile(
                    weight, at + c * sc, direct, points, out + c * width, writes, width, block, 0
                )
            continue
        if plain and sc == 9:
            transpose(weight, at, sk, real, run * 9, block, 0, width)
        elif plain and sk == 9:
            for c in range(run):
                transpose_narrow(
                    weight, at + c * sc, 9, real, 9, block, c * 9 * width, width, scratch
                )
        elif sc == 1:
            for t in range(9):
                source = at + t // 3 * sr + t % 3 * ss
                transpose(weight, source, sk, real, run, block, t * width, 9 * width)
        else:
            for c in range(run):
                for t in range(9):
                    source = weight[at + c * sc + t // 3 * sr + t % 3 * ss :]
                    line = block[(c * 9 + t) * width : (c * 9 + t) * width + real]
                    for j in range(real):
                        line[j] = source[j * sk]
        for c in range(run):
            for t in range(9):
                block[(c * 9 + t) * width + real : (c * 9 + t + 1) * width] = 0
            kernel_tile(
                block, c * 9 * width, reads, points, out + c * width, writes, width, block, 0
            )
