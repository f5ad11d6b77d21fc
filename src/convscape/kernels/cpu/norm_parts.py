"""A thread's share of batch normalization, forward and backward, in both memory orders.

In plain memory threads own channels, a panel that the L2 cache holds at a time: it is read from
memory once. In channels-last memory (run 1) they own pixels: the sums of all threads are needed
before any can normalize, so the two steps are calls of their own, `SUM` then `MAP`.
"""

import numpy as np

from convscape.kernels.cpu import norm_planes as planes
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.norm_panel import (
    CENTER,
    OFFSET,
    SCALE,
    SHIFT,
    SLOPE,
    channels_together,
    gradient,
    moments,
    normalize,
    pixels_panel,
    planes_panel,
    spread,
    sums,
    table_for,
)

SUM, MAP, BOTH = 1, 2, 3
"""Steps of a call."""


@kernel
def _panel(part, parts, shape, group):
    """Channels of a thread's group: the first, their number, and the panel; none at the end."""
    images, channels, run = shape
    if run == 1:
        panel = pixels_panel(part, parts, images, channels)
        return 0, channels if group == 0 and panel[1] > 0 else 0, panel
    width = channels_together(images, run)
    end = channels * (part + 1) // parts
    first = channels * part // parts + group * width
    width = max(0, min(width, end - first))
    return first, width, planes_panel(first, first + width, images, channels, run)


@kernel
def _combine(partial, shape, mean, var, first):
    """Moments of all values, from the mean and squares of every thread's."""
    images, _, run = shape
    parts = len(partial) if run == 1 else 1
    for c in range(len(mean)):
        mean[c] = 0
        var[c] = 0
    for again in range(2):
        for part in range(parts):
            many = images * (part + 1) // parts - images * part // parts
            if many == 0:
                continue
            share = many / images
            means, squares = partial[part, 0, first:], partial[part, 1, first:]
            one = 1 / (images * run)
            for c in range(len(mean)):
                if again:
                    apart = means[c] - mean[c]
                    var[c] += squares[c] * one + apart * apart * share
                else:
                    mean[c] += means[c] * share


@kernel
def _affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon):
    """Center, scale and shift of channels from `first` on, and the mean's low part.

    The mean is subtracted as two numbers: a center of the arrays' precision, which x - center
    loses no digits to, and what is left of it, which is in the shift.
    """
    for c in range(len(mean)):
        center[c] = mean[c]
        high = np.float64(center[c])
        # An infinite mean has no low part; Inf - Inf would make the NaN appear one step early.
        low[c] = mean[c] - high if np.isfinite(high) else 0.0
        factor = 1 / np.sqrt(var[c] + epsilon)
        if len(weight) > 0:
            factor *= np.float64(weight[first + c])
        scale[c] = factor
        shift[c] = -low[c] * factor
        if len(bias) > 0:
            shift[c] += np.float64(bias[first + c])


@team
def forward_part(
    part, parts, step, x, residual, y, shape, weight, bias, found, partial, epsilon, training, adds,
    relu, past,
):  # fmt: skip
    """Moments of the batch (unless `found` holds them), y, and the moments in `found`."""
    if divide(part, parts):
        return
    run = shape[2]
    bound = 0.0 if relu else np.nan
    group = 0
    first, width, panel = _panel(part, parts, shape, group)
    while width > 0:
        count = panel[3]
        table = table_for(x, panel)
        own = partial[part if run == 1 else 0]
        if training and step & SUM:
            mean, square = own[0, first : first + width], own[1, first : first + width]
            moments(x, panel, width, run, table, mean, square)
        if step & MAP:
            vectors = np.empty((5, width))
            mean, var, low = vectors[0], vectors[1], vectors[2]
            scale, shift = vectors[3], vectors[4]
            center = np.empty(width, x.dtype)
            if training:
                _combine(partial[:parts], shape, mean, var, first)
            for c in range(width):
                if not training:
                    mean[c], var[c] = found[0, first + c], found[1, first + c]
                elif run > 1 or part == 0:
                    found[0, first + c], found[1, first + c] = mean[c], var[c]
            _affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon)
            spread(center, table[CENTER], count, width, run)
            spread(scale, table[SCALE], count, width, run)
            spread(shift, table[SHIFT], count, width, run)
            normalize(x, residual, y, panel, table, bound, adds, past)
        group += 1
        first, width, panel = _panel(part, parts, shape, group)


@team
def forward_planes(
    part, parts, x, residual, y, shape, weight, bias, found, epsilon, training, adds, relu, past
):
    """`forward_part` of a thread's channels in plain memory, one after the other."""
    if divide(part, parts):
        return
    images, channels, run = shape
    step = channels * run
    bound = 0.0 if relu else np.nan
    room = np.empty(1), np.empty(1)
    pieces = planes.together(images, run)
    values = np.empty((4, 1))
    low, scale, shift = values[0], values[1], values[2]
    center = np.empty(1, x.dtype)
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        if training:
            mean, square = planes.moments(x, c * run, images, run, step, pieces, center, room)
            found[0, c], found[1, c] = mean, square / (images * run)
        _affine(
            center, low, scale, shift, found[0, c : c + 1], found[1, c : c + 1], weight, bias, c,
            epsilon,
        )  # fmt: skip
        known = np.float64(center[0]), scale[0], shift[0], bound
        planes.normalize(x, residual, y, c * run, images, run, step, known, adds, past)


@team
def backward_part(
    part, parts, step, x, dy, y, passed, dx, shape, weight, bias, found, partial, epsilon, training,
    relu, grads, past,
):  # fmt: skip
    """Dx, and dweight and dbias in `grads`; where y is given, what ReLU passes in `passed`."""
    if divide(part, parts):
        return
    images, _, run = shape
    given = len(y) > 0
    bound = 0.0 if relu and not given else np.nan
    group = 0
    first, width, panel = _panel(part, parts, shape, group)
    while width > 0:
        end = first + width
        count = panel[3]
        table = table_for(x, panel)
        vectors = np.empty((5, width))
        low, scale, shift = vectors[0], vectors[1], vectors[2]
        slope, offset = vectors[3], vectors[4]
        center = np.empty(width, x.dtype)
        mean, var = found[0, first:end], found[1, first:end]
        _affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon)
        spread(center, table[CENTER], count, width, run)
        spread(scale, table[SCALE], count, width, run)
        spread(shift, table[SHIFT], count, width, run)
        if step & SUM:
            own = partial[part if run == 1 else 0]
            ones, products = own[0, first:end], own[1, first:end]
            sums(x, dy, y, passed, panel, width, run, table, bound, ones, products)
        if step & MAP:
            for c in range(width):
                one, product = 0.0, 0.0
                for other in range(parts if run == 1 else 1):
                    one += partial[other, 0, first + c]
                    product += partial[other, 1, first + c]
                product -= low[c] * one
                s = 1 / np.sqrt(var[c] + epsilon)
                slope[c] = -scale[c] * s * s * product / (images * run)
                offset[c] = -scale[c] * one / (images * run) - slope[c] * low[c]
                if run > 1 or part == 0:
                    grads[0, first + c] = product * s
                    grads[1, first + c] = one
            spread(slope, table[SLOPE], count, width, run)
            spread(offset, table[OFFSET], count, width, run)
            gradient(x, passed if given else dy, dx, panel, table, bound, training, past)
        group += 1
        first, width, panel = _panel(part, parts, shape, group)


@team
def backward_planes(
    part, parts, x, dy, y, passed, dx, shape, weight, bias, found, epsilon, training, relu, grads,
    past,
):  # fmt: skip
    """`backward_part` of a thread's channels in plain memory, one after the other."""
    if divide(part, parts):
        return
    images, channels, run = shape
    step, count = channels * run, images * run
    given = len(y) > 0
    bound = 0.0 if relu and not given else np.nan
    room = np.empty(1), np.empty(1)
    pieces = planes.together(images, run)
    values = np.empty((4, 1))
    low, scale, shift = values[0], values[1], values[2]
    center = np.empty(1, x.dtype)
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        var = found[1, c : c + 1]
        _affine(
            center, low, scale, shift, found[0, c : c + 1], var, weight, bias, c, epsilon
        )  # fmt: skip
        known = np.float64(center[0]), scale[0], shift[0], bound
        planes.sums(x, dy, y, passed, c * run, images, run, step, pieces, known, room)
        one, product = room[0][0], room[1][0]
        product -= low[0] * one
        s = 1 / np.sqrt(var[0] + epsilon)
        slope = -scale[0] * s * s * product / count
        offset = -scale[0] * one / count - slope * low[0]
        grads[0, c], grads[1, c] = product * s, one
        every = known[0], known[1], known[2], bound, slope, offset, 1.0 if training else 0.0
        planes.gradient(x, passed if given else dy, dx, c * run, images, run, step, every, past)
