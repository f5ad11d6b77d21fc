"""Winograd's points of the kernels, from weights in any order of axes.

The points of a block of output channels lie as [point][c][lane]: output channels must become
neighbours. In Keras's order of axes they are. In PyTorch's plain order a kernel's cells are, and
a vector's lanes of kernels are turned in registers; in its channels-last order input channels are,
and blocks of them are turned first. Weights are read once, and the hardware does not foresee where
the next block's lie: while one block is transformed, the one behind it is asked for.
"""

from convscape.kernels.cpu.fetch import fetch_far, fetch_far_run
from convscape.kernels.cpu.jit import kernel, maker
from convscape.kernels.cpu.scratch import scratch
from convscape.kernels.cpu.transpose import turn_square
from convscape.kernels.cpu.winograd_transforms import (
    kernel_points,
    kernel_points_of_rows,
    side_of,
)


@maker
def turning_block(form, weight, lanes):
    """Room for the kernels that `block_points` turns."""
    return scratch(side_of(form) ** 2 * lanes**2, weight)


@kernel
def block_points(
    form, weight, strides, flip, first, channels, k0, real, width, lanes, block,
    points, to, step,
):  # fmt: skip
    """Set points[to + e step + (c - first) width + j] for `channels` input channels c from `first`.

    Weights are (k, c, side, side) with these strides; j runs over `real`
    output channels from k0 on, and the lanes behind them become 0. With `flip` the kernels are
    reversed.
    """
    sk, sc, sr, ss = strides
    side = side_of(form)
    cells = side * side
    if sk == 1 and real == width and sr == side * ss:
        # The first cell to be read, and the way to the next one.
        start, way = ((cells - 1) * ss, -ss) if flip else (0, ss)
        for c in range(channels):
            at = k0 + (first + c) * sc + start
            for t in range(cells):
                fetch_far_run(weight, at + channels * sc + t * way, width)
            for v in range(0, width, lanes):
                kernel_points(form, weight, at + v, way, points, to + c * width + v, step)
        return
    plain = sr == side * ss and ss == 1
    for v in range(0, width, lanes):
        at, out = (k0 + v) * sk + first * sc, to + v
        if plain and v + lanes <= real:
            for c in range(channels):
                here = at + c * sc
                for i in range(lanes):
                    fetch_far(weight, here + i * sk + channels * sc)
                kernel_points_of_rows(form, flip, weight, here, sk, points, out + c * width, step)
        else:
            _turned_points(
                form, weight, at, strides, flip, channels, min(lanes, real - v), lanes, block,
                points, out, width, step,
            )  # fmt: skip


@kernel
def _turned_points(
    form, weight, at, strides, flip, channels, real, lanes, block, points, to, width, step
):
    """`block_points` of one vector's lanes of kernels, by way of `block` as [c][cell][lane]."""
    sk, sc, sr, ss = strides
    side = side_of(form)
    cells = side * side
    start, way = ((cells - 1) * lanes, -lanes) if flip else (0, lanes)
    if real < lanes:
        block[:] = 0
    for c0 in range(0, channels, lanes):
        run = min(lanes, channels - c0)
        for t in range(cells):
            source = at + c0 * sc + t // side * sr + t % side * ss
            if sc == 1 and real == run == lanes:
                for j in range(lanes):
                    fetch_far(weight, source + j * sk + channels)
                turn_square(weight, source, sk, block, t * lanes, cells * lanes)
            else:
                for c in range(run):
                    for j in range(real):
                        block[(c * cells + t) * lanes + j] = weight[source + c * sc + j * sk]
        for c in range(run):
            out = to + (c0 + c) * width
            kernel_points(form, block, c * cells * lanes + start, way, points, out, step)
