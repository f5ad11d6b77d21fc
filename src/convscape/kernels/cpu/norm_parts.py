"""A thread's share of batch normalization, forward and backward, in both memory orders.

In plain memory threads own channels, a panel that the L2 cache holds at a time: it is read from
memory once. In channels-last memory (run 1) they own pixels: the sums of all threads are needed
before any can normalize, so the two steps are calls of their own, `SUM` then `MAP`.
"""

import numpy as np

from convscape.kernels.cpu import norm_planes as planes
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.norm_channels import affine, combine, slopes, spread, total
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


@team
def forward_part(
    part, parts, step, x, residual, y, shape, weight, bias, found, partial, epsilon,
    training, adds, relu, past,
):  # fmt: skip
    """Moments of the batch (unless `found` holds them), y, and the moments in `found`."""
    if divide(part, parts):
        return
    run = shape[2]
    bound = 0.0 if relu else np.nan
    group = 0
    first, width, panel = _panel(part, parts, shape, group)
    while width > 0:
        end, count = first + width, panel[3]
        table = table_for(x, panel)
        shares = partial[:parts] if run == 1 else partial[:1]
        if training and step & SUM:
            own = shares[part if run == 1 else 0]
            moments(x, panel, width, run, table, own[0, first:end], own[1, first:end])
        if step & MAP:
            center, vectors = np.empty(width, x.dtype), np.empty((5, width))
            low, scale, shift = vectors[0], vectors[1], vectors[2]
            mean, var = found[0, first:end], found[1, first:end]
            if training:
                if run == 1 and part > 0:  # all threads need all means, one tells them
                    mean, var = vectors[3], vectors[4]
                combine(shares, shape, mean, var, first)
            affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon)
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
    center = np.empty(1, x.dtype)
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        if training:
            mean, square = planes.moments(x, c * run, images, run, step, pieces, center, room)
            found[0, c], found[1, c] = mean, square / (images * run)
        mean, var = found[0, c], found[1, c]
        high, _low, scale, shift = planes.affine(center, mean, var, weight, bias, c, epsilon)
        known = high, scale, shift, bound
        planes.normalize(x, residual, y, c * run, images, run, step, known, adds, past)


@team
def backward_part(
    part, parts, step, x, dy, y, passed, dx, shape, weight, bias, found, partial, epsilon,
    training, relu, grads, past,
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
        end, count = first + width, panel[3]
        table = table_for(x, panel)
        shares = partial[:parts] if run == 1 else partial[:1]
        center, vectors = np.empty(width, x.dtype), np.empty((7, width))
        low, scale, shift = vectors[0], vectors[1], vectors[2]
        mean, var = found[0, first:end], found[1, first:end]
        affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon)
        spread(center, table[CENTER], count, width, run)
        spread(scale, table[SCALE], count, width, run)
        spread(shift, table[SHIFT], count, width, run)
        if step & SUM:
            own = shares[part if run == 1 else 0]
            ones, products = own[0, first:end], own[1, first:end]
            sums(x, dy, y, passed, panel, width, run, table, bound, ones, products)
        if step & MAP:
            ones, products = vectors[3], vectors[4]
            slope, offset = vectors[5], vectors[6]
            total(shares, first, ones, products)
            slopes(ones, products, low, scale, var, epsilon, images * run, slope, offset)
            if run > 1 or part == 0:
                dweight, dbias = grads[0, first:end], grads[1, first:end]
                for c in range(width):
                    dweight[c], dbias[c] = products[c], ones[c]
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
    center = np.empty(1, x.dtype)
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        mean, var = found[0, c], found[1, c]
        high, low, scale, shift = planes.affine(center, mean, var, weight, bias, c, epsilon)
        known = high, scale, shift, bound
        planes.sums(x, dy, y, passed, c * run, images, run, step, pieces, known, room)
        one, product = room[0][0], room[1][0]
        product -= low * one
        s = 1 / np.sqrt(var + epsilon)
        slope = -scale * s * s * product / count
        offset = -scale * one / count - slope * low
        grads[0, c], grads[1, c] = product * s, one
        every = high, scale, shift, bound, slope, offset, 1.0 if training else 0.0
        planes.gradient(x, passed if given else dy, dx, c * run, images, run, step, every, past)
