"""The steps of batch normalization, each as a strip (see `strip`).

Rows of the coefficients: the center (the mean rounded to the arrays' precision; what it lost is in
the other rows), then scale and shift of y = scale (x - center) + shift, then slope and offset of
dx = scale dy + slope (x - center) + offset.
"""

from collections.abc import Sequence
from typing import Any

from convscape.kernels.cpu.strip import Values, strip

CENTER, SCALE, SHIFT, SLOPE, OFFSET = range(5)
ROWS = 5

Some = Sequence[Any]
Result = tuple[Any, Some]


def _moments(v: Values, read: Some, known: Some, sums: Some) -> Result:
    d = v.less(read[0], known[0])
    return None, [v.add(sums[0], d), v.fma(d, d, sums[1])]


def _affine(v: Values, x: Any, known: Some) -> Any:
    return v.fma(v.less(x, known[CENTER]), known[SCALE], known[SHIFT])


def _normalize(v: Values, read: Some, known: Some, sums: Some) -> Result:
    y = _affine(v, read[0], known)
    return (y if len(read) == 1 else v.add(y, read[1])), []


def _rectify(v: Values, read: Some, known: Some, sums: Some) -> Result:
    y, _ = _normalize(v, read, known, sums)
    return v.where_positive(y, y), []


def _sums(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    return None, [v.add(sums[0], dy), v.fma(dy, v.less(x, known[CENTER]), sums[1])]


def _sums_rectified(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    return _sums(v, [x, v.where_positive(_affine(v, x, known), dy)], known, sums)


def _sums_by_output(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy, y = read
    passed = v.where_positive(y, dy)
    return passed, _sums(v, [x, passed], known, sums)[1]


def _gradient(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    along = v.fma(v.less(x, known[CENTER]), known[SLOPE], known[OFFSET])
    return v.fma(dy, known[SCALE], along), []


def _gradient_rectified(v: Values, read: Some, known: Some, sums: Some) -> Result:
    x, dy = read
    return _gradient(v, [x, v.where_positive(_affine(v, x, known), dy)], known, sums)


def _scaled(v: Values, read: Some, known: Some, sums: Some) -> Result:
    return v.times(read[1], known[SCALE]), []


def _scaled_rectified(v: Values, read: Some, known: Some, sums: Some) -> Result:
    passed = v.where_positive(_affine(v, read[0], known), read[1])
    return v.times(passed, known[SCALE]), []


moments = strip(_moments, 1, (CENTER,), 2)
normalize = strip(_normalize, 1, (CENTER, SCALE, SHIFT), 0)
normalize_add = strip(_normalize, 2, (CENTER, SCALE, SHIFT), 0)
rectify = strip(_rectify, 1, (CENTER, SCALE, SHIFT), 0)
rectify_add = strip(_rectify, 2, (CENTER, SCALE, SHIFT), 0)
sums = strip(_sums, 2, (CENTER,), 2)
sums_rectified = strip(_sums_rectified, 2, (CENTER, SCALE, SHIFT), 2)
sums_by_output = strip(_sums_by_output, 3, (CENTER,), 2)
gradient = strip(_gradient, 2, range(ROWS), 0)
gradient_rectified = strip(_gradient_rectified, 2, range(ROWS), 0)
scaled = strip(_scaled, 2, range(2), 0)
scaled_rectified = strip(_scaled_rectified, 2, range(3), 0)
