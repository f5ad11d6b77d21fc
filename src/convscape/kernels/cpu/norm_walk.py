"""How a strip goes over an array, in both memory orders.

In plain memory a channel is a run of pixels in every image; in channels-last memory a strip's
channels are a run in every pixel. Either is `rows` runs, `row_step` apart: one walk serves both.
"""

import numpy as np

from convscape.kernels.cpu import norm_formulas as formulas
from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.norm_formulas import ROWS
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.strip import WIDTH

MOMENTS, FORWARD, SUMS, BACKWARD = range(4)
"""What a walk does: a family of strips. A literal, so that a kernel contains only those it uses."""

PLAIN, ADD, RECTIFIED, RECTIFIED_ADD = range(4)
"""Which of `FORWARD`: with a residual, ReLU, or both."""

BY_INPUT, BY_OUTPUT = RECTIFIED, 4
"""Which of `SUMS` (or PLAIN): ReLU's mask from x, or from y; of `BACKWARD` PLAIN or BY_INPUT."""

INFERENCE = 1
"""Added to which of `BACKWARD`: the statistics are constants."""

BYTES = SIMD.bits // 8
ENDLESS = 1 << 40
"""The limit of a walk that keeps no sums."""

_moments, _sums, _sums_rectified = formulas.moments, formulas.sums, formulas.sums_rectified
_normalize, _normalize_add = formulas.normalize, formulas.normalize_add
_rectify, _rectify_add = formulas.rectify, formulas.rectify_add
_sums_by_output = formulas.sums_by_output
_gradient, _gradient_rectified = formulas.gradient, formulas.gradient_rectified
_scaled, _scaled_rectified = formulas.scaled, formulas.scaled_rectified


@kernel
def walk(
    family, which, a, b, c, out, at, rows, row_step, run, longest, limits, table, column, total
):
    """Walk over `rows` runs of `run` elements, the first at `at`, in walks of `longest` steps.

    `column` is where the strip's coefficients and sums begin in both tables.
    """
    lanes = BYTES // a.itemsize
    width = WIDTH * lanes
    t_step, s_step = len(table) // ROWS, len(total) // 2
    # Whole strips first, then the rest. A run of one vector is a lane of the walk: the strip's
    # vectors are such runs, one after the other.
    short = run <= lanes
    for rest in range(2):
        if short:
            groups = rows // WIDTH
            start, outer, o_step = at, 1, 0
            count, k_step, v_step = groups, WIDTH * row_step, row_step
            limits[:] = run
            if rest:
                start, count = at + groups * WIDTH * row_step, 1
                for v in range(rows - groups * WIDTH, WIDTH):
                    limits[v] = 0
                if groups * WIDTH == rows:
                    continue
        else:
            whole = run // width
            start, outer, o_step = at, rows, row_step
            count, k_step, v_step = whole, width, lanes
            limits[:] = lanes
            if rest:
                start, count = at + whole * width, 1
                for v in range(WIDTH):
                    limits[v] = min(max(run - whole * width - v * lanes, 0), lanes)
                if whole * width == run:
                    continue
        if count == 0:
            continue
        together = max(1, longest // count)
        for n in range(0, outer, together):
            for k in range(0, count, longest):
                given = (
                    a, b, c, out, start + n * o_step + k * k_step, min(together, outer - n), o_step,
                    min(longest, count - k), k_step, v_step, limits, table, column, t_step,
                    total, column, s_step,
                )  # fmt: skip
                if family == MOMENTS:
                    _moments(*given)
                elif family == FORWARD:
                    if which == PLAIN:
                        _normalize(*given)
                    elif which == ADD:
                        _normalize_add(*given)
                    elif which == RECTIFIED:
                        _rectify(*given)
                    else:
                        _rectify_add(*given)
                elif family == SUMS:
                    if which == PLAIN:
                        _sums(*given)
                    elif which == BY_INPUT:
                        _sums_rectified(*given)
                    else:
                        _sums_by_output(*given)
                elif which == PLAIN:
                    _gradient(*given)
                elif which == BY_INPUT:
                    _gradient_rectified(*given)
                elif which == PLAIN + INFERENCE:
                    _scaled(*given)
                else:
                    _scaled_rectified(*given)


@kernel
def exact(x, at, rows, row_step, run):
    """Mean and biased variance in float64: what is left where a sum in float32 overflowed."""
    mean = 0.0
    for n in range(rows):
        for i in range(run):
            mean += np.float64(x[at + n * row_step + i])
    mean /= rows * run
    squares = 0.0
    for n in range(rows):
        for i in range(run):
            d = np.float64(x[at + n * row_step + i]) - mean
            squares += d * d
    return mean, squares / (rows * run)


@kernel
def forward_coefficients(table, at, mean, var, weight, bias, c, epsilon):
    """Write center, scale and shift of channel c at column `at`; return the mean's low part.

    The mean is subtracted as two numbers: a center of the arrays' precision, which x - center
    loses no digits to, and what is left of it, which is in the shift.
    """
    step = len(table) // ROWS
    table[at] = mean
    high = np.float64(table[at])
    # An infinite mean has no low part; Inf - Inf would make the NaN appear one step early.
    low = mean - high if np.isfinite(high) else 0.0
    scale = 1 / np.sqrt(var + epsilon)
    if len(weight) > 0:
        scale *= np.float64(weight[c])
    shift = np.float64(bias[c]) if len(bias) > 0 else 0.0
    table[at + step] = scale
    table[at + 2 * step] = shift - low * scale
    return low


@kernel
def backward_coefficients(table, at, low, var, weight, c, epsilon, ones, products, count, training):
    """Write slope and offset of channel c, beside the forward ones; return dweight and dbias.

    `ones` is Σ dy and `products` Σ dy (x - center); `count` the values a channel.
    """
    step = len(table) // ROWS
    s = 1 / np.sqrt(var + epsilon)
    scale = s * np.float64(weight[c]) if len(weight) > 0 else s
    products -= low * ones
    slope = -scale * s * s * products / count if training else 0.0
    offset = -scale * ones / count if training else 0.0
    table[at + 3 * step] = slope
    table[at + 4 * step] = offset - slope * low
    return products * s, ones


@kernel
def spread(table, at, row, lanes):
    """Repeat the first vector of a strip's coefficients in its other vectors (see `walk`)."""
    step = len(table) // ROWS
    for v in range(1, WIDTH):
        for i in range(lanes):
            table[row * step + at + v * lanes + i] = table[row * step + at + i]
