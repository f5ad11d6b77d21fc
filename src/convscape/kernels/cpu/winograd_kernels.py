"""Winograd's points of the kernels, from weights in any order of axes.

The points of a block of output channels lie as [36][c][lane]: output channels must become
neighbours. In Keras's order of axes they are. In PyTorch's plain order a kernel's cells are, and
a vector's lanes of kernels are turned in registers; in its channels-last order input channels are,
and blocks of them are turned first.
"""

import numpy as np

from convscape.kernels.cpu.fetch import fetch, fetch_run
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.tile import WIDEST
from convscape.kernels.cpu.transpose import transpose
from convscape.kernels.cpu.turned import reach
from convscape.kernels.cpu.winograd_transforms import kernel_points, kernel_points_of_rows

RUN = 16
"""Input channels whose kernels are turned at once, where a block of them is."""

_AHEAD = 6  # input channels that kernels are asked for before they are turned
_NEXT = 2  # and where they need not be


@kernel
def turning_block(edge, weight, lanes):
    """Room for the kernels that `block_points` turns."""
    block = scratch((7 - edge) ** 2 * RUN * WIDEST * lanes, weight)
    block[:] = 0
    return block


@kernel
def block_points(
    edge, weight, strides, flip, first, channels, k0, real, width, lanes, block,
    points, to, step,
):  # fmt: skip
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
    if sr == side * ss and ss == 1:
        _plain_points(
            edge, weight, sk, sc, flip, first, channels, k0, real, width, lanes, block, points,
            writes,
        )  # fmt: skip
        return
    for start in range(first, first + channels, RUN):
        run = min(RUN, first + channels - start)
        at, out = k0 * sk + start * sc, (start - first) * width
        if sk == 1 and real == width:
            for c in range(run):
                for t in range(cells):
                    fetch_run(weight, at + (c + _NEXT) * sc + direct[t], width)
                kernel_points(
                    edge, weight, at + c * sc, direct, points, out + c * width, writes, width
                )
            continue
        if sc == 1:
            for t in range(cells):
                source = at + t // side * sr + t % side * ss
                for j in range(real):
                    fetch(weight, source + j * sk + RUN)
                transpose(weight, source, sk, real, run, block, t * width, cells * width)
        else:
            for c in range(run):
                for t in range(cells):
                    source = at + c * sc + t // side * sr + t % side * ss
                    line = (c * cells + t) * width
                    for j in range(real):
                        block[line + j] = weight[source + j * sk]
        for c in range(run):
            for t in range(cells):
                block[(c * cells + t) * width + real : (c * cells + t + 1) * width] = 0
            kernel_points(
                edge, block, c * cells * width, reads, points, out + c * width, writes, width
            )


@kernel
def _plain_points(
    edge, weight, sk, sc, flip, first, channels, k0, real, width, lanes, block, points, writes,
):  # fmt: skip
    """`block_points` of kernels whose cells are neighbours, sk and sc apart."""
    cells = (7 - edge) ** 2
    whole = reach(cells, lanes)
    reads = np.empty(cells, np.int64)
    for t in range(cells):
        reads[t] = (cells - 1 - t if flip else t) * lanes
    for v in range(0, width, lanes):
        for c in range(channels):
            source, out = (k0 + v) * sk + (first + c) * sc, c * width + v
            if v + lanes <= real and source + (lanes - 1) * sk + whole <= len(weight):
                for i in range(lanes):
                    fetch(weight, source + i * sk + _AHEAD * sc)
                kernel_points_of_rows(edge, flip, weight, source, sk, points, out, writes)
                continue
            # Few kernels are left, or the memory ends.
            for t in range(cells):
                for j in range(lanes):
                    there = v + j < real
                    block[t * lanes + j] = weight[source + j * sk + t] if there else 0
            kernel_points(edge, block, 0, reads, points, out, writes, lanes)
