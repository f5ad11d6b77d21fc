"""Batch normalization in plain memory: threads own channels.

A channel's values over the batch usually fit in the L2 cache, so that they are read from memory
once: for the moments, and from the cache when they are normalized.
"""

import numpy as np
from numba import prange

from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.norm_formulas import ROWS
from convscape.kernels.cpu.norm_walk import (
    BACKWARD,
    BYTES,
    ENDLESS,
    FORWARD,
    MOMENTS,
    PLAIN,
    SUMS,
    backward_coefficients,
    exact,
    forward_coefficients,
    walk,
)
from convscape.kernels.cpu.strip import RUN, WIDTH

_BLOCK = 4096  # values about one center


@kernel
def _moments(x, at, rows, row_step, run, limits, table, total):
    """Mean and biased variance of `rows` runs: blocks about the mean so far, combined by Chan.

    The distance D of a block's mean from its center costs digits: its squares sum to m (var + D²).
    But D² is in the total variance too, weighed as heavily, because the center is the mean of no
    fewer values; the relative error of the total stays that of a short sum.
    """
    block = max(1, _BLOCK // run)
    width = len(table) // ROWS
    table[:width] = x[at]
    count, mean, squares = 0.0, 0.0, 0.0
    for first in range(0, rows, block):
        many = min(block, rows - first)
        if first == 0:
            # The first center: the mean of an eighth of the first block.
            some = max(1, many // 8)
            total[:] = 0
            walk(
                MOMENTS,
                PLAIN,
                x,
                x,
                x,
                x,
                at,
                some,
                row_step,
                run,
                np.int64(RUN),
                limits,
                table,
                np.int64(0),
                total,
            )
            table[:width] = np.float64(table[0]) + total[:width].sum() / (some * run)
        total[:] = 0
        start = at + first * row_step
        walk(
            MOMENTS,
            PLAIN,
            x,
            x,
            x,
            x,
            start,
            many,
            row_step,
            run,
            np.int64(RUN),
            limits,
            table,
            np.int64(0),
            total,
        )
        m = np.float64(many * run)
        error = total[:width].sum()
        apart = np.float64(table[0]) + error / m - mean
        whole = count + m
        squares += total[width:].sum() - error * error / m + apart * apart * (count * m / whole)
        mean += apart * (m / whole)
        count = whole
        table[:width] = mean
    if not np.isfinite(squares):
        return exact(x, at, rows, row_step, run)
    return mean, max(squares, 0.0) / count


@kernel
def _forward_part(
    part, parts, x, residual, y, shape, weight, bias, moments, epsilon, training, what
):
    rows, channels, run = shape
    width = WIDTH * (BYTES // x.itemsize)
    limits = np.empty(WIDTH, np.int64)
    table, total = np.zeros(ROWS * width, x.dtype), np.empty(2 * width)
    step = channels * run
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        at = c * run
        if training:
            mean, var = _moments(x, at, rows, step, run, limits, table, total)
            moments[0, c], moments[1, c] = mean, var
        forward_coefficients(table, 0, moments[0, c], moments[1, c], weight, bias, c, epsilon)
        for row in range(3):
            table[row * width : (row + 1) * width] = table[row * width]
        walk(
            FORWARD,
            what,
            x,
            residual,
            x,
            y,
            at,
            rows,
            step,
            run,
            np.int64(ENDLESS),
            limits,
            table,
            np.int64(0),
            total,
        )


@team
def _forward_team(parts, x, residual, y, shape, weight, bias, moments, epsilon, training, what):
    for part in prange(parts):
        _forward_part(
            np.int64(part), parts, x, residual, y, shape, weight, bias, moments, epsilon, training,
            what,
        )  # fmt: skip


@kernel
def _backward_part(
    part, parts, x, dy, y, passed, dx, shape, weight, bias, moments, epsilon, training, sums, what,
    grads,
):  # fmt: skip
    rows, channels, run = shape
    width = WIDTH * (BYTES // x.itemsize)
    limits = np.empty(WIDTH, np.int64)
    table, total = np.zeros(ROWS * width, x.dtype), np.empty(2 * width)
    step = channels * run
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        at = c * run
        mean, var = moments[0, c], moments[1, c]
        low = forward_coefficients(table, 0, mean, var, weight, bias, c, epsilon)
        for row in range(3):
            table[row * width : (row + 1) * width] = table[row * width]
        total[:] = 0
        walk(
            SUMS,
            sums,
            x,
            dy,
            y,
            passed,
            at,
            rows,
            step,
            run,
            np.int64(RUN),
            limits,
            table,
            np.int64(0),
            total,
        )
        grads[0, c], grads[1, c] = backward_coefficients(
            table, 0, low, var, weight, c, epsilon, total[:width].sum(), total[width:].sum(),
            rows * run, training,
        )  # fmt: skip
        for row in range(3, ROWS):
            table[row * width : (row + 1) * width] = table[row * width]
        walk(
            BACKWARD,
            what,
            x,
            passed,
            x,
            dx,
            at,
            rows,
            step,
            run,
            np.int64(ENDLESS),
            limits,
            table,
            np.int64(0),
            total,
        )


@team
def _backward_team(
    parts, x, dy, y, passed, dx, shape, weight, bias, moments, epsilon, training, sums, what, grads
):
    for part in prange(parts):
        _backward_part(
            np.int64(part), parts, x, dy, y, passed, dx, shape, weight, bias, moments, epsilon,
            training, sums, what, grads,
        )  # fmt: skip


forward = _forward_part, _forward_team
backward = _backward_part, _backward_team
