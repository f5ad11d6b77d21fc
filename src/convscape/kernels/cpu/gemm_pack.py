"""Weights as the register tile reads them: blocks of output channels side by side.

PyTorch's orders of axes, plain and channels-last, are turned in blocks; Keras's has the lanes side
by side already.
"""

import numpy as np

from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.layout import Array, flat
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.tile import WIDEST, block_vectors
from convscape.kernels.cpu.transpose import transpose, transpose_narrow

_RUN = 16  # input channels whose weights are turned at once
_SPLIT_FROM = 1 << 14  # weights, about 5 microseconds of one thread


@kernel
def _copy_vector(source, out):
    for j in range(len(out)):
        out[j] = source[j]


@kernel
def _pack_part(part, parts, weight, strides, shape, lanes, packed):
    """Weights as [group][block of output channels][r][s][c][lane], with zeros at the edge."""
    groups, k_size, c_size, r_size, s_size = shape
    sg, sk, sc, sr, ss = strides
    taps = r_size * s_size
    c_low, c_high = c_size * part // parts, c_size * (part + 1) // parts
    whole = sr == s_size * ss and ss == 1
    block = np.zeros(_RUN * taps * WIDEST * lanes, weight.dtype)
    scratch = np.empty(lanes * lanes, weight.dtype)
    at = 0
    for g in range(groups):
        k0 = 0
        while k0 < k_size:
            width = block_vectors(k_size - k0, lanes) * lanes
            real = min(width, k_size - k0)
            for first in range(c_low, c_high, _RUN):
                run = min(_RUN, c_high - first)
                source = g * sg + k0 * sk + first * sc
                turned = whole and taps > 1 and (sc == taps or sk == taps) and sk != 1
                if turned and sc == taps:
                    transpose(weight, source, sk, real, run * taps, block, 0, width)
                elif turned:
                    for c in range(run):
                        transpose_narrow(
                            weight, source + c * sc, sk, real, taps, block, c * taps * width,
                            width, scratch,
                        )  # fmt: skip
                for r in range(r_size):
                    for s in range(s_size):
                        tap = r * s_size + s
                        to = at + (tap * c_size + first) * width
                        here = source + r * sr + s * ss
                        if not turned and sc == 1 and sk != 1:
                            transpose(weight, here, sk, real, run, packed, to, width)
                        for c in range(run):
                            line = packed[to + c * width : to + (c + 1) * width]
                            if turned:
                                _copy_vector(block[(c * taps + tap) * width :], line)
                            elif sk == 1:
                                _copy_vector(weight[here + c * sc :], line[:real])
                            elif sc != 1:
                                for j in range(real):
                                    line[j] = weight[here + c * sc + j * sk]
                            line[real:] = 0
            at += r_size * s_size * c_size * width
            k0 += width


@team
def _pack_team(index, parts, *given):
    divide(_pack_part, index, parts, given)


def packed(weight: Array, threads: int) -> Array:
    """Weights (groups, k, c, r, s), any strides, as [group][block of k][r][s][c][lane]."""
    groups, k, c, r, s = weight.shape
    lanes = SIMD.lanes(weight.itemsize)
    out = workspace.empty(groups * -(-k // lanes) * lanes * c * r * s, weight.dtype)
    memory, strides = flat(weight)
    threads = threads if weight.size >= _SPLIT_FROM else 1
    launch(_pack_team, threads, memory, strides, weight.shape, lanes, out)
    return out
