"""A panel of an array: what batch normalization sums over and maps, some channels at a time.

A panel `(at, many, step, count, last)` is `many` rows from `at` on, `step` elements apart, of
`count` elements, the last row of `last`. Element j of a row is of channel (j // run) % channels. So
in channels-last memory (run 1) a row is several pixels, and in plain memory the planes of several
channels: no loop is short. Larger planes are left to `norm_planes`.
"""

import numpy as np

from convscape.kernels.cpu import norm_formulas as formulas
from convscape.kernels.cpu.jit import kernel, reduction
from convscape.kernels.cpu.rows import PAD

COLUMNS = 1024
"""Elements of a row in plain memory: coefficients and sums of that length stay in the L1 cache."""

_PIXELS = 256  # elements that a row of several pixels has: several rows lie in one piece of memory

_RUN = 128  # rows that a sum in the arrays' precision may be long
_BLOCK = 256  # rows about one center
_PANEL = 1 << 16  # elements that a panel in plain memory should have to stay in the L2 cache

CENTER, SCALE, SHIFT, SLOPE, OFFSET, FIRST, SECOND = range(7)
"""Rows of a table: coefficients, then two sums."""

_forward, _backward, _passed = formulas.forward, formulas.backward, formulas.passed
_moments, _sums = formulas.moments, formulas.sums


@kernel
def pixels_panel(part, parts, pixels, channels):
    """A thread's pixels in channels-last memory."""
    first, end = pixels * part // parts, pixels * (part + 1) // parts
    tile = max(1, _PIXELS // channels)
    if tile > PAD:
        tile = tile // PAD * PAD
    count = tile * channels
    many = -(-(end - first) // tile)
    last = (end - first) * channels - (many - 1) * count
    return first * channels, many, count, count, last


@kernel
def channels_together(images, run):
    """Channels of a panel in plain memory."""
    return max(1, min(COLUMNS, max(128, _PANEL // images)) // run)


@kernel
def planes_panel(first, end, images, channels, run):
    """Channels first to end in plain memory: the planes of an image are a row."""
    width = (end - first) * run
    return first * run, images, channels * run, width, width


@kernel
def table_for(x, panel):
    """A table for the panel's rows, each on cache lines; sums are 0."""
    width = -(-panel[3] // PAD) * PAD
    memory = np.empty((SECOND + 1) * width + PAD, x.dtype)
    start = (-memory.ctypes.data % 64) // x.itemsize
    memory = memory[start : start + (SECOND + 1) * width]
    for i in range(FIRST * width, len(memory)):
        memory[i] = 0
    return memory.reshape((SECOND + 1, width))


@kernel
def spread(values, line, count, channels, run):
    """Write a number a channel to the elements of a row."""
    for k in range(0, count, channels * run):
        for c in range(min(channels, -(-(count - k) // run))):
            cells = line[k + c * run : min(count, k + (c + 1) * run)]
            for i in range(len(cells)):
                cells[i] = values[c]


@reduction
def _fold(line, total, count, channels, run):
    """Add a row of sums to a channel's in float64, and start again at 0."""
    if run == 1:
        for k in range(0, count, channels):
            cells = line[k : k + channels]
            for c in range(channels):
                total[c] += np.float64(cells[c])
    else:
        for c in range(channels):
            cells = line[c * run : min(count, (c + 1) * run)]
            found = 0.0
            for i in range(len(cells)):
                found += np.float64(cells[i])
            total[c] += found
    for i in range(len(line)):
        line[i] = 0


@kernel
def moments(x, panel, channels, run, table, mean, square):
    """Each channel's mean and Σ (x - mean)²: blocks about the mean so far, combined by Chan.

    The distance D of a block's mean from its center costs digits: its squares sum to m (var + D²).
    But D² is in the total variance too, weighed as heavily, because the center is the mean of no
    fewer values; the relative error of the total stays that of a short sum.
    """
    at, many, step, count, last = panel
    center, ones, squares = table[CENTER], table[FIRST], table[SECOND]
    centers, totals = np.empty(channels, x.dtype), np.zeros((2, channels))
    error, found = totals[0], totals[1]
    for c in range(channels):
        centers[c] = x[at + c * run]
        mean[c] = 0
        square[c] = 0
    spread(centers, center, count, channels, run)
    # The first center: the mean of an eighth of the values, or of the first rows.
    some = min(max(1, many // 8), 32)
    end = last if some == many else count
    _moments(some, step, count, end, at, (x,), (), (center,), (ones, squares), False)
    _fold(ones, error, count, channels, run)
    _fold(squares, found, count, channels, run)
    share = np.float64(channels) / ((some - 1) * count + end)
    for c in range(channels):
        centers[c] = np.float64(centers[c]) + error[c] * share
        error[c] = 0
        found[c] = 0
    seen, taken, waiting, block = 0.0, 0.0, 0, 0
    spread(centers, center, count, channels, run)
    for first in range(0, many, _RUN):
        some = min(_RUN, many - first)
        end = last if first + some == many else count
        start = at + first * step
        _moments(some, step, count, end, start, (x,), (), (center,), (ones, squares), False)
        taken += np.float64((some - 1) * count + end) / channels
        waiting += some
        block += some
        final = first + some == many
        if final or waiting + min(_RUN, many) > _RUN:
            _fold(ones, error, count, channels, run)
            _fold(squares, found, count, channels, run)
            waiting = 0
            if final or block >= _BLOCK:
                whole = seen + taken
                one, between, share = 1 / taken, seen * taken / whole, taken / whole
                for c in range(channels):
                    apart = np.float64(centers[c]) + error[c] * one - mean[c]
                    inner = found[c] - error[c] * error[c] * one
                    square[c] += inner + apart * apart * between
                    mean[c] += apart * share
                    centers[c] = mean[c]
                    error[c] = 0
                    found[c] = 0
                seen, taken, block = whole, 0.0, 0
                if not final:
                    spread(centers, center, count, channels, run)
    for c in range(channels):
        if not np.isfinite(square[c]):
            mean[c], square[c] = _exact(x, panel, channels, run, c)
        square[c] = max(square[c], 0.0) if square[c] == square[c] else np.nan


@kernel
def _exact(x, panel, channels, run, c):
    """A channel's mean and Σ (x - mean)² in float64, where a sum in float32 overflowed."""
    at, many, step, count, last = panel
    mean, square, values = 0.0, 0.0, 0
    for again in range(2):
        for r in range(many):
            end = last if r + 1 == many else count
            for k in range(c * run, end, channels * run):
                start = at + r * step + k
                for i in range(min(run, end - k)):
                    d = np.float64(x[start + i]) - mean if again else np.float64(x[start + i])
                    square += d * d if again else d
                    values += 1 - again
        if not again:
            mean, square = square / values, 0.0
    return mean, square


@kernel
def normalize(x, residual, y, panel, table, bound, adds, past):
    """Y = scale (x - center) + shift + residual, and 0 where that is at or below the bound."""
    at, many, step, count, last = panel
    known = table[CENTER], table[SCALE], table[SHIFT], bound
    if adds:
        _forward(many, step, count, last, at, (x, residual), (y,), known, (), past)
    else:
        _forward(many, step, count, last, at, (x,), (y,), known, (), past)


@kernel
def sums(x, dy, y, passed, panel, channels, run, table, bound, ones, products):
    """Each channel's Σ g and Σ g (x - center); where y is given, g is written to `passed`."""
    at, many, step, count, last = panel
    known = table[CENTER], table[SCALE], table[SHIFT], bound
    given = len(y) > 0
    g = passed if given else dy
    first_sums, second_sums = table[FIRST], table[SECOND]
    for c in range(channels):
        ones[c] = 0
        products[c] = 0
    waiting = 0
    for first in range(0, many, _RUN):
        some = min(_RUN, many - first)
        end = last if first + some == many else count
        start = at + first * step
        if given:
            _passed(some, step, count, end, start, (dy, y), (passed,), (), (), False)
        _sums(some, step, count, end, start, (x, g), (), known, (first_sums, second_sums), False)
        waiting += some
        if waiting + min(_RUN, many) > _RUN or first + some == many:
            _fold(first_sums, ones, count, channels, run)
            _fold(second_sums, products, count, channels, run)
            waiting = 0


@kernel
def gradient(x, g, dx, panel, table, bound, training, past):
    """Dx = scale g + slope (x - center) + offset, of what ReLU passes of g."""
    at, many, step, count, last = panel
    known = (
        table[CENTER], table[SCALE], table[SHIFT], bound, table[SLOPE], table[OFFSET],
        1.0 if training else 0.0,
    )  # fmt: skip
    _backward(many, step, count, last, at, (x, g), (dx,), known, (), past)
