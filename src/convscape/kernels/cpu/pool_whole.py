"""The average of whole planes: one window, which reads every cell."""

from typing import Any

from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.pool_lanes import VECTORS, Shape
from convscape.kernels.cpu.pool_loops import plane_totals
from convscape.kernels.cpu.simd import SIMD

_LANE_BYTES = SIMD.bits // 8
_BLOCK = 1024  # channels whose sums stay in the nearest cache, and that one thread sums at a time

_many = plane_totals(Shape(VECTORS, 1, whole=False))
_one = plane_totals(Shape(1, 1, whole=False))


@team
def _planes_part(part, parts, x, y, share, count, cells):
    """Plain memory: a plane is one stretch."""
    if divide(part, parts):
        return
    lanes = _LANE_BYTES // x.itemsize
    steps = (cells + lanes - 1) // lanes
    plane, end = count * part // parts, count * (part + 1) // parts
    while plane < end:
        taps = (1, steps, plane * cells, 0, 0, 0, lanes, cells, cells)
        if plane + VECTORS <= end:
            _many(x, taps, share, y, plane)
            plane += VECTORS
        else:
            _one(x, taps, share, y, plane)
            plane += 1


@team
def _pixels_part(part, parts, x, y, share, images, cells, run):
    """Channels-last memory: the pixels of an image, four at a time, are added up in its line of y.

    They are read in the order in which they lie.
    """
    if divide(part, parts):
        return
    blocks = (run + _BLOCK - 1) // _BLOCK
    jobs = images * blocks
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        image, block = divmod(job, blocks)
        low, high = block * _BLOCK, min((block + 1) * _BLOCK, run)
        total = y[image * run + low : image * run + high]
        for c in range(len(total)):
            total[c] = 0
        at = image * cells * run + low
        pixel = 0
        while pixel + 4 <= cells:
            first, second = x[at : at + high - low], x[at + run : at + run + high - low]
            at += 2 * run
            third, fourth = x[at : at + high - low], x[at + run : at + run + high - low]
            at += 2 * run
            for c in range(len(total)):
                total[c] += (first[c] + second[c]) + (third[c] + fourth[c])
            pixel += 4
        while pixel < cells:
            first = x[at : at + high - low]
            for c in range(len(total)):
                total[c] += first[c]
            at += run
            pixel += 1
        for c in range(len(total)):
            total[c] *= share


def whole_planes(shape: tuple[int, ...], last: bool) -> tuple[Any, ...]:
    """The kernel for an input of this shape, and its arguments after the share."""
    images, channels, cells = shape[0], shape[1], shape[2] * shape[3]
    if last:
        return _pixels_part, (images, cells, channels)
    return _planes_part, (images * channels, cells)
