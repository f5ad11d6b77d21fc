"""A thread's share of batch normalization, forward and backward, in both memory orders.

In plain memory threads own channels, a panel that the L2 cache holds at a time: it is read from
memory once. In channels-last memory (run 1) they own pixels: the sums of all threads are needed
before any can normalize, so the two steps are calls of their own, `SUM` then `MAP`.

All are told where things lie: `places` has addresses, `sizes` how many parameters there are, 0 or
the channels. `like` and `wide` are arrays of the tensors' element type and of float64.
"""

import numpy as np

from convscape.kernels.cpu import norm_planes as planes
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, maker, team
from convscape.kernels.cpu.norm_channels import (
    affine,
    combine,
    recall,
    record,
    slopes,
    spread,
    total,
)
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
from convscape.kernels.cpu.scratch import at_address

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


@maker
def _forward_arrays(places, shape, sizes, like):
    """x, residual and y; weight and bias; the running mean and variance."""
    size = shape[0] * shape[1] * shape[2]
    return (
        at_address(places[0], size, like), at_address(places[1], size, like),
        at_address(places[2], size, like), at_address(places[3], sizes[0], like),
        at_address(places[4], sizes[1], like), at_address(places[5], sizes[2], like),
        at_address(places[6], sizes[3], like),
    )  # fmt: skip


@maker
def _two_rows(place, channels, wide):
    """The moments, or a share's sums: two numbers a channel."""
    return at_address(place, 2 * channels, wide).reshape((2, channels))


@team
def forward_part(
    part, parts, step, places, shape, sizes, epsilon, training, adds, relu, past, like, wide
):
    """Moments of the batch, or the running ones, or those that are there; and y.

    `places`: x, residual, y, weight, bias, running mean and variance, moments; three numbers, what
    the running ones keep, and take of mean and variance; and room for the moments of every share.
    """
    if divide(part, parts):
        return
    x, residual, y, weight, bias, running_mean, running_var = _forward_arrays(
        places, shape, sizes, like
    )
    channels, run = shape[1], shape[2]
    found = _two_rows(places[7], channels, wide)
    blend = at_address(places[8], 3, wide)
    partial = at_address(places[9], parts * 2 * channels, wide).reshape((parts, 2, channels))
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
            tells = run > 1 or part == 0  # all threads need all means, one tells them
            if not tells and (training or sizes[2] > 0):
                mean, var = vectors[3], vectors[4]
            if training:
                combine(shares, shape, mean, var, first)
                if tells:
                    record(running_mean, running_var, mean, var, first, blend)
            else:
                recall(running_mean, running_var, mean, var, first)
            affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon)
            spread(center, table[CENTER], count, width, run)
            spread(scale, table[SCALE], count, width, run)
            spread(shift, table[SHIFT], count, width, run)
            normalize(x, residual, y, panel, table, bound, adds, past)
        group += 1
        first, width, panel = _panel(part, parts, shape, group)


@team
def forward_planes(
    part, parts, places, shape, sizes, epsilon, training, adds, relu, past, like, wide
):
    """`forward_part` of a thread's channels in plain memory, one after the other."""
    if divide(part, parts):
        return
    x, residual, y, weight, bias, running_mean, running_var = _forward_arrays(
        places, shape, sizes, like
    )
    images, channels, run = shape
    found, blend = _two_rows(places[7], channels, wide), at_address(places[8], 3, wide)
    step = channels * run
    bound = 0.0 if relu else np.nan
    room = np.empty(1), np.empty(1)
    pieces = planes.together(images, run)
    center = np.empty(1, x.dtype)
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        if training:
            mean, square = planes.moments(x, c * run, images, run, step, pieces, center, room)
            found[0, c], found[1, c] = mean, square / (images * run)
            record(running_mean, running_var, found[0, c : c + 1], found[1, c : c + 1], c, blend)
        else:
            recall(running_mean, running_var, found[0, c : c + 1], found[1, c : c + 1], c)
        mean, var = found[0, c], found[1, c]
        high, _low, scale, shift = planes.affine(center, mean, var, weight, bias, c, epsilon)
        known = high, scale, shift, bound
        planes.normalize(x, residual, y, c * run, images, run, step, known, adds, past)


@maker
def _backward_arrays(places, shape, sizes, like):
    """x, dy, y, what is passed and dx; weight and bias; their gradients."""
    size = shape[0] * shape[1] * shape[2]
    return (
        at_address(places[0], size, like), at_address(places[1], size, like),
        at_address(places[2], sizes[2], like), at_address(places[3], size, like),
        at_address(places[4], size, like), at_address(places[5], sizes[0], like),
        at_address(places[6], sizes[1], like),
        at_address(places[8], 2 * shape[1], like).reshape((2, shape[1])),
    )  # fmt: skip


@team
def backward_part(
    part, parts, step, places, shape, sizes, epsilon, training, relu, past, like, wide
):
    """Dx, and dweight and dbias; where y is given, also what ReLU passes.

    `places`: x, dy, y, what is passed, dx, weight, bias, moments, the gradients of weight and bias,
    and room for the sums of every share. sizes[2] is how many elements of y are given.
    """
    if divide(part, parts):
        return
    x, dy, y, passed, dx, weight, bias, grads = _backward_arrays(places, shape, sizes, like)
    images, channels, run = shape
    found = _two_rows(places[7], channels, wide)
    partial = at_address(places[9], parts * 2 * channels, wide).reshape((parts, 2, channels))
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
def backward_planes(part, parts, places, shape, sizes, epsilon, training, relu, past, like, wide):
    """`backward_part` of a thread's channels in plain memory, one after the other."""
    if divide(part, parts):
        return
    x, dy, y, passed, dx, weight, bias, grads = _backward_arrays(places, shape, sizes, like)
    images, channels, run = shape
    found = _two_rows(places[7], channels, wide)
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
