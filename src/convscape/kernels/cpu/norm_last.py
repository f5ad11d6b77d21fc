"""Batch normalization in channels-last memory: threads own pixels.

Every thread takes the moments (or sums) of its pixels; they are combined; then every thread
normalizes its pixels, the last of which its cache may still hold.
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
    spread,
    walk,
)
from convscape.kernels.cpu.strip import RUN, WIDTH

_BLOCK = 8 * RUN  # pixels about one center


@kernel
def _fold(total, channels, lanes):
    """Where a strip's vectors were pixels, add up its vectors."""
    width = WIDTH * lanes
    rest = channels % width
    if 0 < rest <= lanes:
        for row in range(2):
            at = row * (len(total) // 2) + channels - rest
            for v in range(1, WIDTH):
                for i in range(lanes):
                    total[at + i] += total[at + v * lanes + i]


@kernel
def _spread(table, channels, lanes, first, last):
    """Where a strip's vectors are pixels, repeat its coefficients."""
    rest = channels % (WIDTH * lanes)
    if 0 < rest <= lanes:
        for row in range(first, last):
            spread(table, channels - rest, row, lanes)


@kernel
def _over(family, which, a, b, c, out, first, last, channels, group, longest, limits, table, total):
    """Walk all strips over pixels first to last, `group` pixels at a time."""
    width = WIDTH * (BYTES // a.itemsize)
    for n in range(first, last, group):
        many = min(group, last - n)
        for column in range(0, channels, width):
            walk(
                family, which, a, b, c, out, n * channels + column, many, channels,
                min(width, channels - column), longest, limits, table, column, total,
            )  # fmt: skip


@kernel
def _moments_part(part, parts, x, shape, counts, means, squares, padded):
    """Counts, means and Σ (x - mean)² of a thread's pixels: blocks about the mean so far.

    See `norm_plain._moments` for the center and its error.
    """
    pixels, channels, _ = shape
    first, last = pixels * part // parts, pixels * (part + 1) // parts
    counts[part] = last - first
    if first == last:
        return
    lanes = BYTES // x.itemsize
    limits = np.empty(WIDTH, np.int64)
    table, total = np.zeros(ROWS * padded, x.dtype), np.empty(2 * padded)
    mean, square = means[part], squares[part]
    mean[:] = 0
    square[:] = 0
    center = table[:channels]
    line = x[first * channels : (first + 1) * channels]
    for c in range(channels):
        center[c] = line[c]
    _spread(table, channels, lanes, 0, 1)
    errors, found = total[:padded], total[padded:]
    some = min(last - first, RUN)
    total[:] = 0
    _over(
        MOMENTS,
        PLAIN,
        x,
        x,
        x,
        x,
        first,
        first + some,
        channels,
        np.int64(RUN),
        np.int64(RUN),
        limits,
        table,
        total,
    )
    _fold(total, channels, lanes)
    for c in range(channels):
        center[c] = np.float64(center[c]) + errors[c] / some
    _spread(table, channels, lanes, 0, 1)
    for n in range(first, last, _BLOCK):
        end = min(n + _BLOCK, last)
        total[:] = 0
        _over(
            MOMENTS,
            PLAIN,
            x,
            x,
            x,
            x,
            n,
            end,
            channels,
            np.int64(RUN),
            np.int64(RUN),
            limits,
            table,
            total,
        )
        _fold(total, channels, lanes)
        m, count = np.float64(end - n), np.float64(n - first)
        one, between, share = 1 / m, count * m / (count + m), m / (count + m)
        for c in range(channels):
            apart = np.float64(center[c]) + errors[c] * one - mean[c]
            square[c] += found[c] - errors[c] * errors[c] * one + apart * apart * between
            mean[c] += apart * share
            center[c] = mean[c]
        _spread(table, channels, lanes, 0, 1)


@kernel
def _combine(x, shape, counts, means, squares, moments):
    """The moments of all pixels from those of every thread's (Chan)."""
    pixels, channels, _ = shape
    mean, var = moments[0], moments[1]
    mean[:] = 0
    var[:] = 0
    count = 0.0
    for part in range(len(counts)):
        m = np.float64(counts[part])
        if m > 0:
            between, share = count * m / (count + m), m / (count + m)
            theirs, square = means[part], squares[part]
            for c in range(channels):
                apart = theirs[c] - mean[c]
                var[c] += square[c] + apart * apart * between
                mean[c] += apart * share
            count += m
    for c in range(channels):
        var[c] = max(var[c], 0.0) / count if np.isfinite(var[c]) else np.nan
    for c in range(channels):
        if np.isnan(var[c]):
            mean[c], var[c] = exact(x, c, pixels, channels, 1)


@kernel
def _coefficients(table, shape, moments, weight, bias, epsilon, lanes):
    channels = shape[1]
    for c in range(channels):
        forward_coefficients(table, c, moments[0, c], moments[1, c], weight, bias, c, epsilon)
    _spread(table, channels, lanes, 0, 3)


@kernel
def _map_part(part, parts, family, what, x, b, out, shape, table):
    pixels, channels, _ = shape
    limits, unused = np.empty(WIDTH, np.int64), np.empty(2)
    first, last = pixels * part // parts, pixels * (part + 1) // parts
    _over(
        family,
        what,
        x,
        b,
        x,
        out,
        first,
        last,
        channels,
        np.int64(RUN),
        np.int64(ENDLESS),
        limits,
        table,
        unused,
    )


@kernel
def _sums_part(part, parts, what, x, dy, y, passed, shape, table, totals):
    pixels, channels, _ = shape
    limits, total = np.empty(WIDTH, np.int64), totals[part]
    first, last = pixels * part // parts, pixels * (part + 1) // parts
    total[:] = 0
    _over(
        SUMS,
        what,
        x,
        dy,
        y,
        passed,
        first,
        last,
        channels,
        np.int64(RUN),
        np.int64(RUN),
        limits,
        table,
        total,
    )
    _fold(total, channels, BYTES // x.itemsize)


@kernel
def _gradients(table, shape, moments, weight, epsilon, totals, training, grads, lanes):
    """Dweight and dbias from every thread's sums, and the coefficients of dx."""
    pixels, channels, _ = shape
    half = totals.shape[1] // 2
    for c in range(channels):
        ones, products = 0.0, 0.0
        for part in range(totals.shape[0]):
            ones += totals[part, c]
            products += totals[part, half + c]
        mean = moments[0, c]
        low = mean - np.float64(table[c]) if np.isfinite(table[c]) else 0.0
        grads[0, c], grads[1, c] = backward_coefficients(
            table, c, low, moments[1, c], weight, c, epsilon, ones, products, pixels, training
        )
    _spread(table, channels, lanes, 3, ROWS)


@kernel
def _forward_alone(
    part, parts, x, residual, y, shape, weight, bias, moments, epsilon, training, what
):
    lanes = BYTES // x.itemsize
    padded = -(-shape[1] // (WIDTH * lanes)) * WIDTH * lanes
    if training:
        counts, means = np.empty(1, np.int64), np.empty((1, shape[1]))
        squares = np.empty_like(means)
        _moments_part(np.int64(0), np.int64(1), x, shape, counts, means, squares, padded)
        _combine(x, shape, counts, means, squares, moments)
    table = np.zeros(ROWS * padded, x.dtype)
    _coefficients(table, shape, moments, weight, bias, epsilon, lanes)
    _map_part(np.int64(0), np.int64(1), FORWARD, what, x, residual, y, shape, table)


@team
def _forward_team(parts, x, residual, y, shape, weight, bias, moments, epsilon, training, what):
    lanes = BYTES // x.itemsize
    padded = -(-shape[1] // (WIDTH * lanes)) * WIDTH * lanes
    if training:
        counts, means = np.empty(parts, np.int64), np.empty((parts, shape[1]))
        squares = np.empty_like(means)
        for part in prange(parts):
            _moments_part(np.int64(part), parts, x, shape, counts, means, squares, padded)
        _combine(x, shape, counts, means, squares, moments)
    table = np.zeros(ROWS * padded, x.dtype)
    _coefficients(table, shape, moments, weight, bias, epsilon, lanes)
    for part in prange(parts):
        _map_part(np.int64(part), parts, FORWARD, what, x, residual, y, shape, table)


@kernel
def _backward_alone(
    part, parts, x, dy, y, passed, dx, shape, weight, bias, moments, epsilon, training, sums, what,
    grads,
):  # fmt: skip
    lanes = BYTES // x.itemsize
    padded = -(-shape[1] // (WIDTH * lanes)) * WIDTH * lanes
    table, totals = np.zeros(ROWS * padded, x.dtype), np.empty((1, 2 * padded))
    _coefficients(table, shape, moments, weight, bias, epsilon, lanes)
    _sums_part(np.int64(0), np.int64(1), sums, x, dy, y, passed, shape, table, totals)
    _gradients(table, shape, moments, weight, epsilon, totals, training, grads, lanes)
    _map_part(np.int64(0), np.int64(1), BACKWARD, what, x, passed, dx, shape, table)


@team
def _backward_team(
    parts, x, dy, y, passed, dx, shape, weight, bias, moments, epsilon, training, sums, what, grads
):
    lanes = BYTES // x.itemsize
    padded = -(-shape[1] // (WIDTH * lanes)) * WIDTH * lanes
    table, totals = np.zeros(ROWS * padded, x.dtype), np.empty((parts, 2 * padded))
    _coefficients(table, shape, moments, weight, bias, epsilon, lanes)
    for part in prange(parts):
        _sums_part(np.int64(part), parts, sums, x, dy, y, passed, shape, table, totals)
    _gradients(table, shape, moments, weight, epsilon, totals, training, grads, lanes)
    for part in prange(parts):
        _map_part(np.int64(part), parts, BACKWARD, what, x, passed, dx, shape, table)


forward = _forward_alone, _forward_team
backward = _backward_alone, _backward_team
