"""The oracle: slow, obvious loops over `Window.taps`, in float64, for any number of axes.

Every function has the signature of its fast forms and serves as `algorithm="reference"`. One
`correlate` computes a convolution and both of its gradients, under derived windows (the third law
of `Window`). `threads` is taken and not used.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window

Array = np.ndarray[Any, np.dtype[Any]]


def correlate(x: Array, weight: Array, windows: Sequence[Window]) -> Array:
    """Cross-correlation: y[n, k, o] = Σ_c Σ_t weight[k, c, t] x[n, c, taps(o)[t]].

    Args:
        x: (N, C, *spatial).
        weight: (K, C, *kernel).
        windows: One window per spatial axis.

    Returns:
        (N, K, *outputs) in float64.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.1.

    Example:
        >>> x, w = np.arange(5.0).reshape(1, 1, 5), np.ones((1, 1, 3))
        >>> correlate(x, w, [Window(3, stride=2, padding=(1, 1))])
        array([[[1., 6., 7.]]])
    """
    spatial = x.shape[2:]
    outputs = [w.output(n) for w, n in zip(windows, spatial, strict=True)]
    y = np.zeros((x.shape[0], weight.shape[0], *outputs))
    for o in product(*map(range, outputs)):
        taps = [w.taps(i, n) for w, i, n in zip(windows, o, spatial, strict=True)]
        for t in product(*(range(w.kernel) for w in windows)):
            cell = tuple(axis[i] for axis, i in zip(taps, t, strict=True))
            if None not in cell:
                values = x[_at(cell)].astype(float)
                y[_at(o)] += values @ weight[_at(t)].astype(float).T
    return y


def _at(cell: Sequence[Any]) -> Any:
    """Index of one spatial cell, for all of batch and channels."""
    return (..., *cell)


# --- convolution -------------------------------------------------------------------------------


def forward(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, threads: int = 1,
    relu: bool | float = False,
) -> Array:  # fmt: skip
    """The convolution: `correlate` for each group, plus the bias.

    With `relu` at least 0, and where that is a number, such as 6.0, at most that.
    """
    groups = geometry.groups
    parts = zip(np.split(x, groups, 1), np.split(weight, groups, 0), strict=True)
    y = np.concatenate([correlate(a, w, geometry.windows) for a, w in parts], 1)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * geometry.rank)
    if relu:
        y = np.clip(y, 0, None if isinstance(relu, bool) else relu)
    return y.astype(x.dtype)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: Sequence[int], threads: int = 1
) -> Array:
    """The gradient by the input: dy under the adjoint windows, the kernel reversed."""
    if dy.size == 0:
        return np.zeros((dy.shape[0], geometry.in_channels, *spatial), dy.dtype)
    adjoint = [w.adjoint(n) for w, n in zip(geometry.windows, spatial, strict=True)]
    backwards = (slice(None), slice(None), *(slice(None, None, -1),) * geometry.rank)
    parts = zip(np.split(dy, geometry.groups, 1), np.split(weight, geometry.groups, 0), strict=True)
    dx = [correlate(d, w[backwards].swapaxes(0, 1), adjoint) for d, w in parts]
    return np.concatenate(dx, 1).astype(dy.dtype)


def weight_grad(x: Array, dy: Array, geometry: Geometry, threads: int = 1) -> Array:
    """The gradient by the weight: x correlated with dy, batch and channels changing places."""
    if x.size == 0 or dy.size == 0:
        return np.zeros(geometry.weight_shape, x.dtype)
    windows = [w.weight(n) for w, n in zip(geometry.windows, x.shape[2:], strict=True)]
    parts = zip(np.split(x, geometry.groups, 1), np.split(dy, geometry.groups, 1), strict=True)
    dw = [correlate(a.swapaxes(0, 1), d.swapaxes(0, 1), windows).swapaxes(0, 1) for a, d in parts]
    return np.concatenate(dw, 0).astype(x.dtype)


# --- pooling -----------------------------------------------------------------------------------


def maximum(x: Array, geometry: Geometry, threads: int = 1) -> tuple[Array, Array]:
    """The maximum of every window's real cells, and the number of the kernel cell it was at.

    NaN wins over every number; of equal numbers the first is taken, of several NaNs the last. A
    window that reads no real cell gives -Inf.
    """
    spatial = x.shape[2:]
    outputs = geometry.outputs(spatial)
    y = np.full((*x.shape[:2], *outputs), -np.inf, x.dtype)
    where = np.zeros(y.shape, np.int64)
    cells = list(np.ndindex(*geometry.kernel))
    for o in np.ndindex(*outputs):
        found = np.zeros(x.shape[:2], bool)
        for number, t in enumerate(cells):
            cell = _cell(geometry, spatial, o, t)
            if cell is not None:
                values = x[_at(cell)]
                wins = ~found | (values > y[_at(o)]) | np.isnan(values)
                y[_at(o)] = np.where(wins, values, y[_at(o)])
                where[_at(o)] = np.where(wins, number, where[_at(o)])
                found[:] = True
    return y, where


def maximum_only(x: Array, geometry: Geometry, threads: int = 1) -> Array:
    """The maximum of every window's real cells, without where it was."""
    return maximum(x, geometry)[0]


def maximum_grad(
    dy: Array, where: Array, geometry: Geometry, spatial: Sequence[int], threads: int = 1
) -> Array:
    """The gradient by the input: dy goes to the cell that was the maximum."""
    dx = np.zeros((*dy.shape[:2], *spatial))
    for o in np.ndindex(*dy.shape[2:]):
        for number, t in enumerate(np.ndindex(*geometry.kernel)):
            cell = _cell(geometry, spatial, o, t)
            if cell is not None:
                dx[_at(cell)] += np.where(where[_at(o)] == number, dy[_at(o)], 0)
    return dx.astype(dy.dtype)


def pick(x: Array, where: Array, geometry: Geometry, threads: int = 1) -> Array:
    """Values at the cells where the maximum was: the adjoint of `maximum_grad`."""
    y = np.zeros(where.shape, x.dtype)
    for o in np.ndindex(*where.shape[2:]):
        for number, t in enumerate(np.ndindex(*geometry.kernel)):
            cell = _cell(geometry, x.shape[2:], o, t)
            if cell is not None:
                here = where[_at(o)] == number
                y[_at(o)] = np.where(here, x[_at(cell)], y[_at(o)])
    return y


def average(x: Array, geometry: Geometry, divisors: Sequence[Array], threads: int = 1) -> Array:
    """The sum of every window's real cells, over the product of the axes' divisors."""
    outputs = geometry.outputs(x.shape[2:])
    y = np.zeros((*x.shape[:2], *outputs))
    for o in np.ndindex(*outputs):
        for t in np.ndindex(*geometry.kernel):
            cell = _cell(geometry, x.shape[2:], o, t)
            if cell is not None:
                y[_at(o)] += x[_at(cell)]
        y[_at(o)] /= _product(divisors, o)
    return y.astype(x.dtype)


def average_grad(
    dy: Array,
    geometry: Geometry,
    divisors: Sequence[Array],
    spatial: Sequence[int],
    threads: int = 1,
) -> Array:
    """The gradient by the input: every real cell of a window gets its share of dy."""
    dx = np.zeros((*dy.shape[:2], *spatial))
    for o in np.ndindex(*dy.shape[2:]):
        for t in np.ndindex(*geometry.kernel):
            cell = _cell(geometry, spatial, o, t)
            if cell is not None:
                dx[_at(cell)] += dy[_at(o)] / _product(divisors, o)
    return dx.astype(dy.dtype)


def _cell(
    geometry: Geometry, spatial: Sequence[int], o: Sequence[int], t: Sequence[int]
) -> tuple[int, ...] | None:
    """The input cell that kernel cell t of window o meets; None when it is padding."""
    axes = zip(geometry.windows, spatial, o, t, strict=True)
    cell = [w.taps(i, n)[j] for w, n, i, j in axes]
    return None if None in cell else tuple(c for c in cell if c is not None)


def _product(divisors: Sequence[Array], o: Sequence[int]) -> float:
    return float(np.prod([d[i] for d, i in zip(divisors, o, strict=True)]))


# --- batch normalization -----------------------------------------------------------------------


def normalize(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    statistics: tuple[Array, Array] | None,
    epsilon: float,
    residual: Array | None,
    relu: bool,
    threads: int = 1,
) -> tuple[Array, Array]:
    """Y = gamma (x - mean) / sqrt(var + epsilon) + beta + residual, and (mean, var) in float64.

    The statistics are the batch's where none are given; with `relu`, max(y, 0), and NaN stays.
    """
    axes = (0, *range(2, x.ndim))
    exact = x.astype(float)
    moments = np.array((exact.mean(axes), exact.var(axes)) if statistics is None else statistics)
    y = _normal(exact, moments, epsilon) * _along(weight, x, 1) + _along(bias, x, 0)
    y = y if residual is None else y + residual
    return np.where(relu & (y <= 0), 0, y).astype(x.dtype), moments.astype(float)


def normalize_grad(
    dy: Array,
    x: Array,
    y: Array | None,
    weight: Array | None,
    bias: Array | None,
    moments: Array,
    epsilon: float,
    training: bool,
    relu: bool,
    threads: int = 1,
) -> tuple[Array, Array, Array]:
    """dx, the residual's gradient, and dweight and dbias, (2, C)."""
    axes = (0, *range(2, x.ndim))
    normal = _normal(x.astype(float), moments, epsilon)
    passed = dy.astype(float)
    if relu:
        tested = normal * _along(weight, x, 1) + _along(bias, x, 0) if y is None else y
        passed = np.where(tested <= 0, 0, passed)
    grads = np.array([(passed * normal).sum(axes), passed.sum(axes)])
    dx = passed
    if training:
        count = x.size // x.shape[1]
        dx = dx - (_along(grads[1], x, 0) + normal * _along(grads[0], x, 0)) / count
    dx = dx * _along(weight, x, 1) / np.sqrt(_along(moments[1], x, 0) + epsilon)
    return dx.astype(x.dtype), passed.astype(x.dtype), grads.astype(x.dtype)


def _normal(x: Array, moments: Array, epsilon: float) -> Array:
    mean, var = (_along(v, x, 0) for v in moments)
    normal: Array = (x - mean) / np.sqrt(var + epsilon)
    return normal


def _along(v: Array | None, x: Array, otherwise: float) -> Array:
    """One number a channel, against x."""
    v = np.full(x.shape[1], otherwise) if v is None else v
    return v.astype(float).reshape(-1, *(1,) * (x.ndim - 2))
