"""The steps of batch normalization, each a formula along rows (see `rows`).

Coefficients, one a channel: the center (the mean rounded to the arrays' precision; what it lost is
in the others), scale and shift of z = scale (x - center) + shift, slope and offset of
dx = scale g + slope (x - center) + offset. And two numbers: the bound at or below which ReLU gives
0 (NaN where there is no ReLU: nothing is below it), and whether the statistics are the batch's.
"""

from typing import Any

from convscape.kernels.cpu.planes import planes
from convscape.kernels.cpu.row_values import Some, Values
from convscape.kernels.cpu.rows import rows

Result = tuple[Some, Some]


def _moments(v: Values, read: Some, known: Some, sums: Some) -> Result:
    d = v.less(read[0], known[0])
    return [], [v.add(sums[0], d), v.fma(d, d, sums[1])]


def _affine(v: Values, x: Any, known: Some) -> Any:
    center, scale, shift, _bound = known[:4]
    return v.fma(v.less(x, center), scale, shift)


def _forward(v: Values, read: Some, known: Some, sums: Some) -> Result:
    z = _affine(v, read[0], known)
    for residual in read[1:]:
        z = v.add(z, residual)
    return [v.above(known[3], z, z)], []


def _passed(v: Values, read: Some, known: Some, sums: Some) -> Result:
    dy, y = read
    return [v.above(v.zero, y, dy)], []


def _sums(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    g = v.above(known[3], _affine(v, x, known), dy)
    return [], [v.add(sums[0], g), v.fma(g, v.less(x, known[0]), sums[1])]


def _backward(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    center, scale, _shift, bound, slope, offset, training = known
    g = v.above(bound, _affine(v, x, known), dy)
    # Not a slope of 0 at inference: 0 Inf is NaN.
    along = v.above(v.zero, training, v.fma(v.less(x, center), slope, offset))
    return [v.fma(g, scale, along)], []


moments, moments_of_planes = rows(_moments, 4), planes(_moments)
forward, forward_of_planes = rows(_forward, 1), planes(_forward)
passed, passed_of_planes = rows(_passed, 4), planes(_passed)
sums, sums_of_planes = rows(_sums, 4), planes(_sums)
backward, backward_of_planes = rows(_backward, 1), planes(_backward)
