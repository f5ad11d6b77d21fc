"""Batch normalization: statistics, normalization, and both gradients.

    mean = Σ x / m,  var = Σ (x - mean)² / m,  s = 1 / sqrt(var + epsilon)
    y = gamma (x - mean) s + beta

    dbeta = Σ dy,  dgamma = Σ dy (x - mean) s
    training:  dx = gamma s (dy - dbeta / m - (x - mean) s dgamma / m)
    inference: dx = gamma s dy

Per channel, over the m values of batch and positions. Sums are taken in float64, and the variance
in a second pass about the mean, with the correction for the mean's own rounding: E[x²] - E[x]²
would lose all digits where the mean is large beside the deviation. When normalizing, the mean is
subtracted as two numbers of x's precision (high and low part), for the same reason.

Source: S. Ioffe and C. Szegedy, arXiv 1502.03167, section 3; T. Chan, G. Golub and R. LeVeque,
"Algorithms for Computing the Sample Variance", The American Statistician 37(3), 1983.
"""

import numpy as np
from numba import prange

from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.jit import kernel, reduction, team
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.threads import launch

# --- the kernels -------------------------------------------------------------------------------
# Memory is (outer, channels, inner). In channels-last memory inner is 1, and the loops run over
# channels; in plain memory they run over inner.


@reduction
def _sums_part(part, parts, x, weight, center, shape, first, second):
    """Σ w and Σ w (x - center) of a share, per channel; the share's own row of both results."""
    outer, channels, inner = shape
    ones, products = first[part], second[part]
    ones[:] = 0
    products[:] = 0
    for n in range(outer * part // parts, outer * (part + 1) // parts):
        if inner == 1:
            line = x[n * channels : (n + 1) * channels]
            by = weight[n * channels : (n + 1) * channels]
            for c in range(channels):
                w = np.float64(by[c])
                ones[c] += w
                products[c] += w * (np.float64(line[c]) - center[c])
        else:
            for c in range(channels):
                start = (n * channels + c) * inner
                line, by = x[start : start + inner], weight[start : start + inner]
                middle = center[c]
                a = 0.0
                b = 0.0
                for i in range(inner):
                    w = np.float64(by[i])
                    a += w
                    b += w * (np.float64(line[i]) - middle)
                ones[c] += a
                products[c] += b


@team
def _sums_team(parts, x, weight, center, shape, first, second):
    for part in prange(parts):
        _sums_part(np.int64(part), parts, x, weight, center, shape, first, second)


@reduction
def _moments_part(part, parts, x, center, shape, first, second):
    """Σ (x - center) and Σ (x - center)² of a share, per channel."""
    outer, channels, inner = shape
    ones, squares = first[part], second[part]
    ones[:] = 0
    squares[:] = 0
    for n in range(outer * part // parts, outer * (part + 1) // parts):
        if inner == 1:
            line = x[n * channels : (n + 1) * channels]
            for c in range(channels):
                d = np.float64(line[c]) - center[c]
                ones[c] += d
                squares[c] += d * d
        else:
            for c in range(channels):
                start = (n * channels + c) * inner
                line = x[start : start + inner]
                middle = center[c]
                a = 0.0
                b = 0.0
                for i in range(inner):
                    d = np.float64(line[i]) - middle
                    a += d
                    b += d * d
                ones[c] += a
                squares[c] += b


@team
def _moments_team(parts, x, center, shape, first, second):
    for part in prange(parts):
        _moments_part(np.int64(part), parts, x, center, shape, first, second)


@kernel
def _normalize_part(part, parts, x, y, high, low, scale, shift, shape):
    outer, channels, inner = shape
    for n in range(outer * part // parts, outer * (part + 1) // parts):
        if inner == 1:
            line, out = x[n * channels : (n + 1) * channels], y[n * channels : (n + 1) * channels]
            for c in range(channels):
                out[c] = ((line[c] - high[c]) - low[c]) * scale[c] + shift[c]
        else:
            for c in range(channels):
                start = (n * channels + c) * inner
                line, out = x[start : start + inner], y[start : start + inner]
                top, rest, a, b = high[c], low[c], scale[c], shift[c]
                for i in range(inner):
                    out[i] = ((line[i] - top) - rest) * a + b


@team
def _normalize_team(parts, x, y, high, low, scale, shift, shape):
    for part in prange(parts):
        _normalize_part(np.int64(part), parts, x, y, high, low, scale, shift, shape)


@kernel
def _gradient_part(part, parts, dy, x, dx, high, low, scale, slope, shift, shape):
    """Store scale dy + slope (x - mean) + shift as dx."""
    outer, channels, inner = shape
    for n in range(outer * part // parts, outer * (part + 1) // parts):
        if inner == 1:
            given = dy[n * channels : (n + 1) * channels]
            line, out = x[n * channels : (n + 1) * channels], dx[n * channels : (n + 1) * channels]
            for c in range(channels):
                d = (line[c] - high[c]) - low[c]
                out[c] = scale[c] * given[c] + slope[c] * d + shift[c]
        else:
            for c in range(channels):
                start = (n * channels + c) * inner
                given = dy[start : start + inner]
                line, out = x[start : start + inner], dx[start : start + inner]
                top, rest, a, b, e = high[c], low[c], scale[c], slope[c], shift[c]
                for i in range(inner):
                    out[i] = a * given[i] + b * ((line[i] - top) - rest) + e


@team
def _gradient_team(parts, dy, x, dx, high, low, scale, slope, shift, shape):
    for part in prange(parts):
        _gradient_part(np.int64(part), parts, dy, x, dx, high, low, scale, slope, shift, shape)


# --- what they compute -------------------------------------------------------------------------


def moments(x: Array, threads: int) -> tuple[Array, Array]:
    """Mean and biased variance of every channel.

    Args:
        x: (N, C, ...), any strides; at least one value a channel.
        threads: Threads to use.

    Returns:
        Mean and variance, both (C,) in float64.
    """
    memory, shape = _memory(x, _is_last(x))
    count = shape[0] * shape[2]
    total, _ = _moments(memory, np.zeros(shape[1]), shape, threads)
    mean = total / count
    error, squares = _moments(memory, mean, shape, threads)
    # Σ (x - mean) is what rounding left of the mean; it is 0 in exact arithmetic.
    return mean, np.maximum(squares - error * error / count, 0) / count


def normalize(x: Array, mean: Array, scale: Array, shift: Array, threads: int) -> Array:
    """(x - mean) scale + shift, per channel.

    Args:
        x: (N, C, ...), any strides.
        mean: (C,) in float64.
        scale: (C,) in float64: gamma / sqrt(var + epsilon).
        shift: (C,) in float64: beta.
        threads: Threads to use.

    Returns:
        An array like x, in x's memory order.
    """
    last = _is_last(x)
    memory, shape = _memory(x, last)
    y = workspace.empty(memory.size, x.dtype)
    launch(
        _normalize_part, _normalize_team, threads,
        memory, y, *_split(mean, x.dtype), scale.astype(x.dtype), shift.astype(x.dtype), shape,
    )  # fmt: skip
    return _shaped(y, x.shape, last)


def gradient_sums(dy: Array, x: Array, mean: Array, threads: int) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - mean) of every channel.

    Args:
        dy: (N, C, ...), any strides.
        x: Like dy; the forward input.
        mean: (C,) in float64.
        threads: Threads to use.

    Returns:
        Both sums, (C,) in float64.
    """
    last = _is_last(x)
    memory, shape = _memory(x, last)
    given, _ = _memory(dy, last)
    first = np.zeros((max(threads, 1), shape[1]))
    second = np.zeros_like(first)
    launch(_sums_part, _sums_team, threads, memory, given, mean, shape, first, second)
    return first.sum(0), second.sum(0)


def gradient(
    dy: Array, x: Array, mean: Array, scale: Array, slope: Array, shift: Array, threads: int
) -> Array:
    """The gradient by the input: scale dy + slope (x - mean) + shift, per channel.

    Args:
        dy: (N, C, ...), any strides.
        x: Like dy; the forward input.
        mean: (C,) in float64.
        scale: (C,) in float64: gamma s.
        slope: (C,) in float64: -gamma s³ Σ dy (x - mean) / m in training, 0 in inference.
        shift: (C,) in float64: -gamma s Σ dy / m in training, 0 in inference.
        threads: Threads to use.

    Returns:
        dx, like x, in x's memory order.
    """
    last = _is_last(x)
    memory, shape = _memory(x, last)
    given, _ = _memory(dy, last)
    dx = workspace.empty(memory.size, x.dtype)
    coefficients = (v.astype(x.dtype) for v in (scale, slope, shift))
    launch(
        _gradient_part, _gradient_team, threads,
        given, memory, dx, *_split(mean, x.dtype), *coefficients, shape,
    )  # fmt: skip
    return _shaped(dx, x.shape, last)


def _moments(
    x: Array, center: Array, shape: tuple[int, int, int], threads: int
) -> tuple[Array, Array]:
    first = np.zeros((max(threads, 1), shape[1]))
    second = np.zeros_like(first)
    launch(_moments_part, _moments_team, threads, x, center, shape, first, second)
    return first.sum(0), second.sum(0)


def _split(mean: Array, dtype: np.dtype) -> tuple[Array, Array]:
    """A float64 number as the sum of two of the working precision."""
    high = mean.astype(dtype)
    # An infinite mean has no low part; Inf - Inf would make the NaN appear one step early.
    low = np.where(np.isfinite(high), mean - np.where(np.isfinite(high), high, 0), 0)
    return high, low.astype(dtype)


def _is_last(x: Array) -> bool:
    """Whether the channels of an (N, C, ...) array are its fastest axis in memory."""
    return np.moveaxis(x, 1, -1).flags.c_contiguous


def _memory(x: Array, last: bool) -> tuple[Array, tuple[int, int, int]]:
    """The array as flat (outer, channels, inner) memory; copied where it does not lie so."""
    n, c, *rest = x.shape
    inner = int(np.prod(rest))
    if last:
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(-1), (n * inner, c, 1)
    return np.ascontiguousarray(x).reshape(-1), (n, c, inner)


def _shaped(y: Array, shape: tuple[int, ...], last: bool) -> Array:
    n, c, *rest = shape
    return np.moveaxis(y.reshape(n, *rest, c), -1, 1) if last else y.reshape(shape)
