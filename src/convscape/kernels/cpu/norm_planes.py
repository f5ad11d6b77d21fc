"""Batch normalization of one channel at a time in plain memory, where its planes are not tiny.

A channel is `images` planes of `run` elements, `step` apart. Its coefficients are numbers, its sums
stay in registers, and what the first pass has read is in a cache for the second.
"""

import numpy as np

from convscape.kernels.cpu import norm_formulas as formulas
from convscape.kernels.cpu.jit import inlined, kernel

FROM = 32
"""Elements of a plane from which on this is faster than `norm_panel`: two vectors of them."""

_LONG = 2048  # elements of a plane that one sum takes: 32 a lane

_moments, _sums, _passed = (
    formulas.moments_of_planes, formulas.sums_of_planes, formulas.passed_of_planes,
)  # fmt: skip
_forward, _backward = formulas.forward_of_planes, formulas.backward_of_planes


@kernel
def together(images, run):
    """Planes that one sum takes, and elements of each."""
    if run >= _LONG:
        return 1, _LONG
    return max(1, min(images, 32 // -(-run // 64))), run


@inlined
def _guess(x, at, images, run, step):
    """The mean of a few values here and there."""
    total = 0.0
    for i in range(8):
        total += np.float64(x[at + i * images // 8 * step + (2 * i + 1) * run // 16])
    return total / 8


@inlined
def moments(x, at, images, run, step, pieces, center, room):
    """A channel's mean and Σ (x - mean)²: about a guess, and about what that found if it was bad.

    The distance D of the mean from the center costs digits: squares sum to m (var + D²). With a
    center within a deviation of the mean that is one bit.
    """
    ones, squares = room
    some, piece = pieces
    values = images * run
    center[0] = _guess(x, at, images, run, step)
    mean, square = 0.0, 0.0
    for _ in range(2):
        ones[0], squares[0] = 0, 0
        for n in range(0, images, some):
            many = min(some, images - n)
            for c in range(0, run, piece):
                count = min(piece, run - c)
                start = at + n * step + c
                known = (np.float64(center[0]),)
                _moments(many, step, count, start, (x,), (), known, room, 0, False)
        apart = ones[0] / values
        mean = np.float64(center[0]) + apart
        square = squares[0] - ones[0] * apart
        # Also where a sum overflowed, or met NaN.
        if not apart * apart * values > square:
            break
        center[0] = mean
    if not np.isfinite(square):
        return _exact(x, at, images, run, step)
    return mean, max(square, 0.0)


@kernel
def _exact(x, at, images, run, step):
    """The same in float64, where a sum in float32 overflowed."""
    mean, square = 0.0, 0.0
    for n in range(images):
        for i in range(run):
            mean += np.float64(x[at + n * step + i])
    mean /= images * run
    for n in range(images):
        for i in range(run):
            d = np.float64(x[at + n * step + i]) - mean
            square += d * d
    return mean, square


@inlined
def affine(center, mean, var, weight, bias, c, epsilon):
    """`norm_channels.affine` of one channel: center, the mean's low part, scale and shift."""
    center[0] = mean
    high = np.float64(center[0])
    low = mean - high if np.isfinite(high) else 0.0
    scale = 1 / np.sqrt(var + epsilon)
    if len(weight) > 0:
        scale *= np.float64(weight[c])
    shift = -low * scale
    if len(bias) > 0:
        shift += np.float64(bias[c])
    return high, low, scale, shift


@inlined
def normalize(x, residual, y, at, images, run, step, known, adds, past):
    """Y = scale (x - center) + shift + residual, and 0 where that is at or below the bound."""
    if adds:
        _forward(images, step, run, at, (x, residual), (y,), known, (), 0, past)
    else:
        _forward(images, step, run, at, (x,), (y,), known, (), 0, past)


@inlined
def sums(x, dy, y, passed, at, images, run, step, pieces, known, room):
    """A channel's Σ g and Σ g (x - center), in `room`; where y is given, g is in `passed`."""
    some, piece = pieces
    given = len(y) > 0
    g = passed if given else dy
    ones, products = room
    ones[0], products[0] = 0, 0
    for n in range(0, images, some):
        many = min(some, images - n)
        for c in range(0, run, piece):
            count = min(piece, run - c)
            start = at + n * step + c
            if given:
                _passed(many, step, count, start, (dy, y), (passed,), (), (), 0, False)
            _sums(many, step, count, start, (x, g), (), known, room, 0, False)


@inlined
def gradient(x, g, dx, at, images, run, step, known, past):
    """Dx = scale g + slope (x - center) + offset, of what ReLU passes of g."""
    _backward(images, step, run, at, (x, g), (dx,), known, (), 0, past)
