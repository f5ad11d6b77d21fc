"""A panel of an array: what batch normalization sums over and maps, some channels at a time.

A panel `(at, many, step, count, last)` is `many` rows from `at` on, `step` elements apart, of
`count` elements, the last row of `last`. Element j of a row is of channel (j // run) % channels. So
in channels-last memory (run 1) a row is several pixels, and in plain memory the planes of several
channels: no loop is short. Larger planes are left to `norm_planes`.
"""

import numpy as np

from convscape.kernels.cpu import norm_formulas as formulas
from convscape.kernels.cpu.jit import kernel, maker
from convscape.kernels.cpu.norm_channels import fold, spread
from convscape.kernels.cpu.rows import PAD

COLUMNS = 1024
"""Elements of a row in plain memory: coefficients and sums of that length stay in the L1 cache."""

_PIXELS = 256  # elements that a row of several pixels has: several rows lie in one piece of memory

_CELLS = 1024  # elements of a row that are mapped at a time: coefficients stay in the L1 cache

_RUN = 128  # rows that a sum in the arrays' precision may be long
_GUESS = 8  # rows that a first guess of the mean is taken of
_PANEL = 1 << 16  # elements that a panel in plain memory should have to stay in the L2 cache

_PIECE = 1 << 15  # elements of a panel that are mapped in the order in which they lie

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


@maker
def table_for(x, panel):
    """A table for the panel's rows, each on cache lines; sums are 0."""
    width = -(-panel[3] // PAD) * PAD
    memory = np.empty((SECOND + 1) * width + PAD, x.dtype)
    start = (-memory.ctypes.data % 64) // x.itemsize
    memory = memory[start : start + (SECOND + 1) * width]
    for i in range(FIRST * width, len(memory)):
        memory[i] = 0
    return memory.reshape((SECOND + 1, width))


@maker
def moments(x, panel, channels, run, table, mean, square):
    """Each channel's mean and Σ (x - mean)²: about a guess; if that was bad, about what it found.

    The distance D of a mean from its center costs digits: squares sum to m (var + D²). With centers
    within two deviations of the means that are two bits. So one pass over a share is enough, but
    for outliers among the rows of the guess.
    """
    _at, many, _step, count, last = panel
    values = np.float64((many - 1) * count + last) / channels
    centers, ones, squares = np.empty(channels, x.dtype), np.empty(channels), np.empty(channels)
    _guess(x, panel, channels, run, table, centers, ones, squares)
    for _ in range(2):
        _about(x, panel, channels, run, table, centers, ones, squares)
        bad = 0
        for c in range(channels):
            apart = ones[c] / values
            mean[c] = np.float64(centers[c]) + apart
            square[c] = squares[c] - ones[c] * apart
            bad += apart * apart * values > 4 * square[c]
        if bad == 0:
            break
        for c in range(channels):
            centers[c] = mean[c]
    for c in range(channels):
        # Also where a sum overflowed, or met NaN.
        if not np.isfinite(square[c]):
            mean[c], square[c] = _exact(x, panel, channels, run, c)
        square[c] = max(square[c], 0.0) if square[c] == square[c] else np.nan


@kernel
def _guess(x, panel, channels, run, table, centers, ones, squares):
    """The mean of a few rows here and there."""
    at, many, step, count, last = panel
    some = min(many, _GUESS)
    apart = many // some
    end = last if (some - 1) * apart == many - 1 else count
    share = channels / np.float64((some - 1) * count + end)
    for c in range(channels):
        centers[c] = 0
    _about(x, (at, some, apart * step, count, end), channels, run, table, centers, ones, squares)
    for c in range(channels):
        centers[c] = ones[c] * share


@kernel
def _about(x, panel, channels, run, table, centers, total, squares):
    """Σ (x - center) and Σ (x - center)², of short sums in the arrays' precision."""
    at, many, step, count, last = panel
    center, ones, twos = table[CENTER], table[FIRST], table[SECOND]
    spread(centers, center, count, channels, run)
    for c in range(channels):
        total[c], squares[c] = 0, 0
    for first in range(0, many, _RUN):
        some = min(_RUN, many - first)
        end = last if first + some == many else count
        start = at + first * step
        _moments(some, step, count, end, start, (x,), (), (center,), (ones, twos), False)
        fold(ones, total, count, channels, run)
        fold(twos, squares, count, channels, run)


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
def _together(count):
    """Rows of a piece of a panel.

    What sums have read last is in the caches, what they read first has left them where the panel is
    large. So panels are mapped piece by piece from their end on.
    """
    return max(1, _PIECE // count)


@kernel
def _piece(panel, number):
    """Where a piece of a panel begins, its rows, and the elements of its last row."""
    at, many, step, count, last = panel
    first = number * _together(count)
    rows = min(_together(count), many - first)
    return at + first * step, rows, last if first + rows == many else count


@kernel
def normalize(x, residual, y, panel, table, bound, adds, past):
    """Y = scale (x - center) + shift + residual, and 0 where that is at or below the bound."""
    _at, many, step, count, _last = panel
    for first in range((many - 1) // _together(count), -1, -1):
        at, rows, last = _piece(panel, first)
        for k in range(0, count, _CELLS):
            known = table[CENTER, k:], table[SCALE, k:], table[SHIFT, k:], bound
            some, end = min(_CELLS, count - k), min(_CELLS, last - k)
            if adds:
                _forward(rows, step, some, end, at + k, (x, residual), (y,), known, (), past)
            else:
                _forward(rows, step, some, end, at + k, (x,), (y,), known, (), past)


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
    for first in range(0, many, _RUN):
        some = min(_RUN, many - first)
        end = last if first + some == many else count
        start = at + first * step
        if given:
            _passed(some, step, count, end, start, (dy, y), (passed,), (), (), False)
        _sums(some, step, count, end, start, (x, g), (), known, (first_sums, second_sums), False)
        fold(first_sums, ones, count, channels, run)
        fold(second_sums, products, count, channels, run)


@kernel
def gradient(x, g, dx, panel, table, bound, training, past):
    """Dx = scale g + slope (x - center) + offset, of what ReLU passes of g."""
    _at, many, step, count, _last = panel
    whether = 1.0 if training else 0.0
    for first in range((many - 1) // _together(count), -1, -1):
        at, rows, last = _piece(panel, first)
        for k in range(0, count, _CELLS):
            known = (
                table[CENTER, k:], table[SCALE, k:], table[SHIFT, k:], bound,
                table[SLOPE, k:], table[OFFSET, k:], whether,
            )  # fmt: skip
            some, end = min(_CELLS, count - k), min(_CELLS, last - k)
            _backward(rows, step, some, end, at + k, (x, g), (dx,), known, (), past)
