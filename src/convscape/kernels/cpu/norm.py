"""Batch normalization: training and inference, with a residual and ReLU, and all gradients.

    mean = Σ x / m,  var = Σ (x - mean)² / m,  s = 1 / sqrt(var + epsilon)
    z = gamma (x - mean) s + beta + residual,  y = max(z, 0)

    g = dy where z > 0,  dresidual = g
    dbeta = Σ g,  dgamma = Σ g (x - mean) s
    training:  dx = gamma s (g - dbeta / m - (x - mean) s dgamma / m)
    inference: dx = gamma s g

Per channel, over the m values of batch and positions; residual and ReLU as asked for. Sums are
taken in float64, of short partial sums in the arrays' precision. The variance is
that of differences from a mean, never E[x²] - E[x]², which would lose all digits where the mean is
large beside the deviation. When normalizing, the mean is subtracted as two numbers, for the same
reason. ReLU's mask is computed again from x, or read from y where a residual went into it.

Source: S. Ioffe and C. Szegedy, arXiv 1502.03167, section 3; T. Chan, G. Golub and R. LeVeque,
"Algorithms for Computing the Sample Variance", The American Statistician 37(3), 1983.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convscape.kernels.cpu import caches, memory
from convscape.kernels.cpu import norm_parts as parts
from convscape.kernels.cpu.jit import entry
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.norm_planes import FROM as PLANES_FROM
from convscape.kernels.cpu.threads import launch

_SPLIT_FROM = 1 << 16  # elements, about 30 microseconds of one thread


def normalize(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    statistics: tuple[Array, Array] | None,
    epsilon: float,
    residual: Array | None,
    relu: bool,
    threads: int,
) -> tuple[Array, Array]:
    """Normalize, add the residual, and rectify.

    Args:
        x: (N, C, ...), any strides; at least one value a channel.
        weight: gamma, (C,) in x's dtype, or None for 1.
        bias: beta, likewise, or None for 0.
        statistics: Mean and biased variance, (C,), for inference; None to take the batch's.
        epsilon: Added to the variance.
        residual: Like x, added before the ReLU, or None.
        relu: Whether to take max(y, 0).
        threads: Threads to use.

    Returns:
        y, like x and in x's memory order; and the mean and biased variance, (2, C) in float64.
    """
    layout = _layout(x.shape, x.strides, x.itemsize)
    shape = layout.panel
    given = _memory(x, layout)
    added = given if residual is None else _memory(residual, layout)
    y = memory.empty(given.size, given.dtype)
    moments = np.empty((2, shape[1]))
    if statistics is not None:
        moments[0], moments[1] = statistics
    past = caches.exceeds((2 if residual is None else 3) * x.nbytes)
    threads = _threads(x, threads)
    if shape[2] >= PLANES_FROM:
        launch(
            parts.forward_planes, threads,
            given, added, y, shape, _vector(weight, x), _vector(bias, x), moments,
            float(epsilon), statistics is None, residual is not None, relu, past,
        )  # fmt: skip
        return _shaped(y, x, layout), moments
    _steps(
        parts.forward_part, shape, threads, statistics is None,
        given, added, y, shape, _vector(weight, x), _vector(bias, x), moments,
        np.empty((threads, 2, shape[1])), float(epsilon), statistics is None,
        residual is not None, relu, past,
    )  # fmt: skip
    return _shaped(y, x, layout), moments


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
    threads: int,
) -> tuple[Array, Array, Array]:
    """The gradients of `normalize`.

    Args:
        dy: (N, C, ...), any strides.
        x: Like dy; the forward input.
        y: The forward output, where a residual was added and ReLU taken; else None.
        weight: gamma, (C,), or None.
        bias: beta, (C,), or None.
        moments: What `normalize` returned.
        epsilon: As in `normalize`.
        training: Whether the moments are those of x.
        relu: Whether ReLU was taken.
        threads: Threads to use.

    Returns:
        dx; the residual's gradient (dy itself without ReLU; what is passed on by it where y was
        given); and dweight and dbias, (2, C) in x's dtype.
    """
    layout = _layout(x.shape, x.strides, x.itemsize)
    shape = layout.panel
    given, above = _memory(x, layout), _memory(dy, layout)
    out, passed = _vector(None, x), above
    if y is not None:
        out, passed = _memory(y, layout), memory.empty(given.size, given.dtype)
    dx = memory.empty(given.size, given.dtype)
    grads = np.empty((2, shape[1]), x.dtype)
    past = caches.exceeds((3 if y is None else 5) * x.nbytes)
    threads = _threads(x, threads)
    if shape[2] >= PLANES_FROM:
        launch(
            parts.backward_planes, threads,
            given, above, out, passed, dx, shape, _vector(weight, x), _vector(bias, x), moments,
            float(epsilon), training, relu, grads, past,
        )  # fmt: skip
        return _shaped(dx, x, layout), _shaped(passed, x, layout), grads
    _steps(
        parts.backward_part, shape, threads, True,
        given, above, out, passed, dx, shape, _vector(weight, x), _vector(bias, x), moments,
        np.empty((threads, 2, shape[1])), float(epsilon), training, relu, grads, past,
    )  # fmt: skip
    return _shaped(dx, x, layout), _shaped(passed, x, layout), grads


@entry
def record(running: Array, batch: Array, keep: float, take: float) -> None:
    """Blend a batch's statistics into the running ones, in place.

    Args:
        running: (C,), any strides.
        batch: (C,) in float64.
        keep: Factor of the running ones.
        take: Factor of the batch's.
    """
    for c in range(len(running)):
        running[c] = keep * running[c] + take * batch[c]


def _threads(x: Array, threads: int) -> int:
    """One thread where waking another takes longer than the work."""
    return threads if x.size >= _SPLIT_FROM else 1


def _steps(
    team: Any, shape: tuple[int, int, int], threads: int, sums: bool, *arguments: Any
) -> None:
    """Launch a kernel: in two steps where every thread needs the sums of all (see `norm_parts`)."""
    if sums and threads > 1 and shape[2] == 1:
        launch(team, threads, parts.SUM, *arguments)
        launch(team, threads, parts.MAP, *arguments)
    else:
        launch(team, threads, parts.BOTH, *arguments)


def _vector(v: Array | None, x: Array) -> Array:
    """A parameter as the kernels take it; none is an empty one."""
    return np.empty(0, x.dtype) if v is None else np.ascontiguousarray(v, x.dtype)


class _Layout(NamedTuple):
    """How an (N, C, ...) array lies in memory, and how kernels see it.

    Args:
        strides: Bytes, of a dense array of this shape and order.
        last: Whether the channels are its fastest axis.
        panel: Rows, channels, and neighbours in memory of one channel.
    """

    strides: tuple[int, ...]
    last: bool
    panel: tuple[int, int, int]


@lru_cache(maxsize=1024)  # of every call, for few different arrays
def _layout(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> _Layout:
    """The order of memory to compute in: the array's own where it is dense."""
    n, c, *rest = shape
    run = prod(rest)
    plain = _dense(shape, itemsize)
    (batch, *others, channel) = _dense((n, *rest, c), itemsize)
    order = batch, channel, *others

    def lies(wanted: tuple[int, ...]) -> bool:
        return all(m == 1 or s == w for m, s, w in zip(shape, strides, wanted, strict=True))

    if lies(order) and not (lies(plain) and run > 1):
        return _Layout(order, True, (n * run, c, 1))
    return _Layout(plain, False, (n, c, run))


def _dense(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Bytes from element to element of a contiguous array, an axis each."""
    return tuple(itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _memory(x: Array, layout: _Layout) -> Array:
    """The array as flat memory in this order, copied where it does not lie so."""
    if x.strides == layout.strides:
        return x.ravel("K")
    if layout.last:
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x).reshape(-1)


def _shaped(y: Array, x: Array, layout: _Layout) -> Array:
    """Flat memory in x's shape."""
    return np.ndarray(x.shape, y.dtype, y, 0, layout.strides)
