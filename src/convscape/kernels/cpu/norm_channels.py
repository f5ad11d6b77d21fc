"""What batch normalization computes once a channel: from sums to coefficients.

Loops over channels alone, in float64, with no condition inside: LLVM makes vectors of them. Where
there are more channels than pixels they are a good part of the work.
"""

import numpy as np

from convscape.kernels.cpu.jit import kernel, reduction


@kernel
def combine(shares, shape, mean, var, first):
    """Moments of channels from `first` on, from the mean and Σ (x - mean)² of every share."""
    images, _, run = shape
    parts, end, one = len(shares), first + len(mean), 1 / (images * run)
    for c in range(len(mean)):
        mean[c], var[c] = 0, 0
    for part in range(parts):
        part_of_all = (images * (part + 1) // parts - images * part // parts) / images
        if part_of_all > 0:
            means = shares[part, 0, first:end]
            for c in range(len(mean)):
                mean[c] += means[c] * part_of_all
    for part in range(parts):
        part_of_all = (images * (part + 1) // parts - images * part // parts) / images
        if part_of_all > 0:
            means, squares = shares[part, 0, first:end], shares[part, 1, first:end]
            for c in range(len(mean)):
                apart = means[c] - mean[c]
                var[c] += squares[c] * one + apart * apart * part_of_all


@kernel
def record(running_mean, running_var, mean, var, first, blend):
    """Blend a batch's moments into the running ones, where those are kept."""
    if len(running_mean) > 0:
        keep, take = blend[0], blend[1]
        old = running_mean[first : first + len(mean)]
        for c in range(len(mean)):
            old[c] = keep * old[c] + take * mean[c]
    if len(running_var) > 0:
        keep, take = blend[0], blend[2]
        old = running_var[first : first + len(mean)]
        for c in range(len(mean)):
            old[c] = keep * old[c] + take * var[c]


@kernel
def recall(running_mean, running_var, mean, var, first):
    """The running moments, where those are given; else mean and var are known."""
    if len(running_mean) > 0:
        for c in range(len(mean)):
            mean[c], var[c] = running_mean[first + c], running_var[first + c]


@kernel
def total(shares, first, ones, products):
    """Both sums of channels from `first` on, of every share."""
    end = first + len(ones)
    for c in range(len(ones)):
        ones[c], products[c] = 0, 0
    for part in range(len(shares)):
        some, others = shares[part, 0, first:end], shares[part, 1, first:end]
        for c in range(len(ones)):
            ones[c] += some[c]
            products[c] += others[c]


@kernel
def affine(center, low, scale, shift, mean, var, weight, bias, first, epsilon):
    """Center, scale and shift of channels from `first` on, and the mean's low part.

    The mean is subtracted as two numbers: a center of the arrays' precision, which x - center
    loses no digits to, and what is left of it, which is in the shift.
    """
    for c in range(len(mean)):
        center[c] = mean[c]
    for c in range(len(mean)):
        high = np.float64(center[c])
        # An infinite mean has no low part; Inf - Inf would make the NaN appear one step early.
        low[c] = mean[c] - high if np.isfinite(high) else 0.0
        scale[c] = 1 / np.sqrt(var[c] + epsilon)
    if len(weight) > 0:
        gamma = weight[first : first + len(mean)]
        for c in range(len(mean)):
            scale[c] *= np.float64(gamma[c])
    for c in range(len(mean)):
        shift[c] = -low[c] * scale[c]
    if len(bias) > 0:
        beta = bias[first : first + len(mean)]
        for c in range(len(mean)):
            shift[c] += np.float64(beta[c])


@kernel
def slopes(ones, products, low, scale, var, epsilon, values, slope, offset):
    """Slope and offset of dx, from Σ g and Σ g (x - center); the products become dweight."""
    for c in range(len(ones)):
        s = 1 / np.sqrt(var[c] + epsilon)
        product = (products[c] - low[c] * ones[c]) * s
        products[c] = product
        slope[c] = -scale[c] * s * product / values
        offset[c] = -scale[c] * ones[c] / values - slope[c] * low[c]


@kernel
def spread(values, line, count, channels, run):
    """Write a number a channel to the elements of a row."""
    if run == 1:
        for k in range(0, count, channels):
            cells = line[k : k + channels]
            for c in range(channels):
                cells[c] = values[c]
    else:
        for c in range(channels):
            cells = line[c * run : (c + 1) * run]
            for i in range(run):
                cells[i] = values[c]


@reduction
def fold(line, total, count, channels, run):
    """Add a row of sums to a channel's in float64, and start again at 0."""
    if run == 1:
        for k in range(0, count, channels):
            cells = line[k : k + channels]
            for c in range(channels):
                total[c] += np.float64(cells[c])
    else:
        for c in range(channels):
            cells = line[c * run : (c + 1) * run]
            found = 0.0
            for i in range(run):
                found += np.float64(cells[i])
            total[c] += found
    for i in range(len(line)):
        line[i] = 0
