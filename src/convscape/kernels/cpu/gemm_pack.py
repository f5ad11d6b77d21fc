"""Weights as the register tile reads them: blocks of output channels side by side.

PyTorch's orders of axes, plain and channels-last, are turned in blocks; Keras's has the lanes side
by side already.
"""

import numpy as np

from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.copy import copy_thirds
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, maker, team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import block_vectors, copy_block, own_blocks
from convscape.kernels.cpu.transpose import transpose, transpose_to
from convscape.kernels.cpu.turned import from_rows

_BYTES = SIMD.bits // 8
_THREE = 3  # cells of a 1x3 or 3x1 kernel, which would be less than half of a block
_NINE = 9  # cells of the most common kernel: only these columns of a block are turned
_nine_columns = from_rows(lambda cells: cells, _NINE)
_SPLIT_FROM = 1 << 14  # weights, about 5 microseconds of one thread


@maker
def places_of(many, c_size, taps, lanes):
    """Where the cells (c, r, s) of `many` channels go, in rows of lanes from the first one on.

    Then the same for one channel alone, in a whole block. The packed block has c_size channels.
    """
    places = np.zeros(many * taps + lanes, np.int64)
    for m in range(many * taps):
        places[m] = m % taps * c_size + m // taps
    for tap in range(min(taps, lanes)):
        places[many * taps + tap] = tap * c_size
    return places


@kernel
def pack_block(weight, source, strides, shape, c_low, c_high, real, width, places, packed, at):
    """Set packed[at + ((r S + s) C + c) width + j] for a share of c; idle lanes become 0."""
    c_size, r_size, s_size = shape
    sk, sc, sr, ss = strides
    taps, lanes = r_size * s_size, _BYTES // weight.itemsize
    many = c_high - c_low
    dense = sr == s_size * ss and ss == 1
    if sk == 1:
        for c in range(c_low, c_high):
            for r in range(r_size):
                for s in range(s_size):
                    to = at + ((r * s_size + s) * c_size + c) * width
                    copy_block(weight, source + c * sc + r * sr + s * ss, packed, to, real)
    elif dense and sc == taps:
        # One kernel's cells, of all input channels, follow each other.
        transpose_to(
            weight, source + c_low * taps, sk, real, many * taps, packed, at + c_low * width,
            width, places, 0,
        )  # fmt: skip
    elif sc == 1:
        for r in range(r_size):
            for s in range(s_size):
                to = at + ((r * s_size + s) * c_size + c_low) * width
                here = source + r * sr + s * ss + c_low
                transpose(weight, here, sk, real, many, packed, to, width)
    else:
        # A kernel's cells follow each other, and so do the output channels' kernels.
        near = dense and sk == taps and (taps < lanes or taps == _NINE)
        for c in range(c_low, c_high):
            whole = 0
            if near:
                # Blocks read on beyond the cells, but for three; those rows lie under the first's.
                fitting = (len(weight) - source - c * sc - lanes) // sk + 1
                whole = max(0, real if taps == _THREE else min(real, fitting)) // lanes * lanes
            for j in range(0, whole, lanes):
                here, to = source + c * sc + j * sk, at + c * width + j
                if taps == _THREE:
                    copy_thirds(weight, here, packed, to, c_size * width)
                elif taps == _NINE:
                    _nine_columns(weight, here, sk, packed, to, c_size * width)
                else:
                    transpose_to(
                        weight, here, sk, lanes, lanes, packed, to, width, places, taps * many
                    )
            for r in range(r_size):
                for s in range(s_size):
                    to = at + ((r * s_size + s) * c_size + c) * width
                    here = source + c * sc + r * sr + s * ss
                    for j in range(whole, real):
                        packed[to + j] = weight[here + j * sk]
    if real < width:
        for tap in range(taps):
            for c in range(c_low, c_high):
                to = at + (tap * c_size + c) * width
                for j in range(real, width):
                    packed[to + j] = 0


@team
def _pack_part(part, parts, weight, strides, shape, lanes, packed):
    """Weights as [group][block of output channels][r][s][c][lane], a share of them.

    Where threads can have output channels of their own, as those that multiply do, a thread packs
    what it will read: from one core's cache to another's is a long way.
    """
    if divide(part, parts):
        return
    groups, k_size, c_size, r_size, s_size = shape
    taps = r_size * s_size
    c_low, c_high = 0, c_size
    k_low, k_high = own_blocks(part, parts, k_size, lanes)
    if parts > 1 and k_high - k_low == k_size:
        c_low, c_high = c_size * part // parts, c_size * (part + 1) // parts
    many = c_high - c_low
    places = places_of(many, c_size, taps, lanes)
    at = 0
    for g in range(groups):
        k0 = 0
        while k0 < k_size:
            width = block_vectors(k_size - k0, lanes) * lanes
            if k_low <= k0 < k_high:
                pack_block(
                    weight, g * strides[0] + k0 * strides[1], strides[1:], shape[2:], c_low, c_high,
                    min(width, k_size - k0), width, places, packed, at,
                )  # fmt: skip
            at += taps * c_size * width
            k0 += width


def packed(weight: Array, threads: int) -> Array:
    """Weights (groups, k, c, r, s), any strides, as [group][block of k][r][s][c][lane]."""
    groups, k, c, r, s = weight.shape
    lanes = SIMD.lanes(weight.itemsize)
    out = workspace.empty(groups * -(-k // lanes) * lanes * c * r * s, weight.dtype)
    memory, strides = flat(weight)
    threads = threads if weight.size >= _SPLIT_FROM else 1
    launch(_pack_part, threads, memory, strides, weight.shape, lanes, out)
    return out
