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

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from convscape.kernels.cpu import caches, memory
from convscape.kernels.cpu import norm_parts as parts
from convscape.kernels.cpu.bound import Bound, Launch, Result, place
from convscape.kernels.cpu.layout import Array
from convscape.kernels.cpu.norm_layout import in_line, layout_of
from convscape.kernels.cpu.norm_planes import FROM as PLANES_FROM

_SPLIT_FROM = 1 << 16  # elements, about 30 microseconds of one thread


class Given(NamedTuple):
    """What a normalization is given beside x and the moments.

    Args:
        weight: Whether there is a gamma.
        bias: Whether there is a beta.
        residual: Whether a tensor is added; backward: whether y is given.
        mean: Whether there is a running mean.
        var: Whether there is a running variance.
    """

    weight: bool
    bias: bool
    residual: bool
    mean: bool = False
    var: bool = False


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
    layout = layout_of(x.shape, x.strides, x.itemsize)
    given = Given(weight is not None, bias is not None, residual is not None)
    training = statistics is None
    call = _forward(x.shape, layout.last, x.dtype, threads, given, training, relu, epsilon)
    y, found = (result.kept() for result in call.results)
    if statistics is not None:
        found[0], found[1] = statistics
    held = [
        in_line(x, layout), None if residual is None else in_line(residual, layout), y,
        _vector(weight, x), _vector(bias, x), None, None, found, None,
    ]  # fmt: skip
    call.fill(*map(_address, held))
    return y, found[:2]


@lru_cache(maxsize=1024)
def bind(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, threads: int,
    given: tuple[bool, ...], training: bool, relu: bool, epsilon: float,
) -> Bound | None:  # fmt: skip
    """`normalize` where all but the addresses is known, running moments included.

    Args:
        shape: Of x.
        strides: Its, in elements.
        dtype: Of all but the moments.
        threads: Threads to use.
        given: A `Given`; parameters and running moments without gaps, a residual like x.
        training: Whether the batch's moments are taken, and blended into the running ones; else
            those are taken.
        relu: Whether to take max(y, 0).
        epsilon: Added to the variance.

    Returns:
        What to call with the addresses of x, residual, y, weight, bias, running mean and variance,
        moments, and of three numbers in float64: what running moments keep, and take of the batch's
        mean and of its variance. Its results are y, and the moments with room behind them, (2 and
        more, C) in float64. None for an x with gaps, or without elements.
    """
    last, kind = _order(shape, strides), np.dtype(dtype)
    if last is None:
        return None
    return _forward(shape, last, kind, threads, Given(*given), training, relu, epsilon)


@lru_cache(maxsize=1024)
def _forward(
    shape: tuple[int, ...], last: bool, dtype: np.dtype[Any], threads: int, given: Given,
    training: bool, relu: bool, epsilon: float,
) -> Bound:  # fmt: skip
    """What `bind` returns, for an x without gaps, in channels-last memory or plain."""
    panel = _panel(shape, last)
    sizes = tuple(panel[1] if there else 0 for there in given)
    shares = _shares(panel, threads)
    moved = (3 if given.residual else 2) * prod(shape) * dtype.itemsize
    launches = _launches(
        (parts.forward_planes, parts.forward_part), panel, shares, training, _places(10), panel,
        (*sizes[:2], *sizes[3:]), float(epsilon), training, given.residual, relu,
        caches.exceeds(moved), np.empty(0, dtype), np.empty(0),
    )  # fmt: skip
    moments = Result.of((2 + 2 * shares, panel[1]), float, False)
    room = 2 * panel[1] * moments.dtype.itemsize  # where it begins, behind the moments

    def fill(*places: int) -> None:
        for launch in launches:
            launch(*places, places[7] + room)

    return Bound((Result.of(shape, dtype, last), moments), fill)


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
    layout = layout_of(x.shape, x.strides, x.itemsize)
    given = Given(weight is not None, bias is not None, y is not None)
    call = _backward(x.shape, layout.last, x.dtype, threads, given, training, relu, epsilon)
    dx, grads, *passed = (result.kept() for result in call.results)
    out = None if y is None else in_line(y, layout)
    held = [
        in_line(x, layout), in_line(dy, layout), out, passed[0] if passed else None, dx,
        _vector(weight, x), _vector(bias, x), np.ascontiguousarray(moments), grads,
    ]  # fmt: skip
    call.fill(*map(_address, held))
    return dx, passed[0] if passed else dy, grads


@lru_cache(maxsize=1024)
def bind_grad(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, threads: int,
    given: tuple[bool, ...], training: bool, relu: bool, epsilon: float,
) -> Bound | None:  # fmt: skip
    """`normalize_grad` where all but the addresses is known.

    Args:
        shape: Of x.
        strides: Its and dy's, in elements.
        dtype: Of all but the moments.
        threads: Threads to use.
        given: A `Given`; parameters without gaps, y like x.
        training: Whether the moments are those of x.
        relu: Whether ReLU was taken.
        epsilon: As in `bind`.

    Returns:
        What to call with the addresses of x, dy, y, what is passed, dx, weight, bias, moments and
        the gradients of weight and bias; its results are dx, these gradients, (2, C), and where y
        is given what is passed. None as in `bind`.
    """
    last, kind = _order(shape, strides), np.dtype(dtype)
    if last is None:
        return None
    return _backward(shape, last, kind, threads, Given(*given), training, relu, epsilon)


@lru_cache(maxsize=1024)
def _backward(
    shape: tuple[int, ...], last: bool, dtype: np.dtype[Any], threads: int, given: Given,
    training: bool, relu: bool, epsilon: float,
) -> Bound:  # fmt: skip
    """What `bind_grad` returns, for an x without gaps, in channels-last memory or plain."""
    panel, size = _panel(shape, last), prod(shape)
    sizes = panel[1] if given.weight else 0, panel[1] if given.bias else 0
    shares = _shares(panel, threads)
    # x and dy are read twice; where y is given, that is read and what passes is written as well.
    moved = (7 if given.residual else 5) * size * dtype.itemsize
    launches = _launches(
        (parts.backward_planes, parts.backward_part), panel, shares, True, _places(10), panel,
        (*sizes, size if given.residual else 0), float(epsilon), training, relu,
        caches.exceeds(moved), np.empty(0, dtype), np.empty(0),
    )  # fmt: skip

    def fill(x: int, dy: int, y: int, passed: int, *others: int) -> None:
        # The sums' room lives as long as this call.
        room = memory.empty(2 * shares * panel[1], float)
        for launch in launches:
            launch(x, dy, y, passed or dy, *others, memory.address(room))

    like = Result.of(shape, dtype, last)
    grads = Result.of((2, panel[1]), dtype, False)
    return Bound((like, grads, like) if given.residual else (like, grads), fill)


def _order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool | None:
    """Whether an array with these strides, in elements, is channels-last; None with gaps."""
    layout = layout_of(shape, strides, 1)
    return layout.last if layout.whole and 0 not in shape else None


def _panel(shape: tuple[int, ...], last: bool) -> tuple[int, int, int]:
    """Rows, channels, and neighbours in memory of one channel."""
    n, c, *rest = shape
    return (n * prod(rest), c, 1) if last else (n, c, prod(rest))


def _shares(panel: tuple[int, int, int], threads: int) -> int:
    """One thread where waking another takes longer than the work."""
    return threads if prod(panel) >= _SPLIT_FROM else 1


def _places(count: int) -> tuple[int, ...]:
    return tuple(map(place, range(count)))


def _launches(
    teams: tuple[Any, Any], panel: tuple[int, int, int], shares: int, sums: bool, *arguments: Any
) -> list[Launch]:
    """Of the kernel for planes, or of the other: in two steps where all need the sums of all."""
    planes, others = teams
    if panel[2] >= PLANES_FROM:
        return [Launch(planes, shares, *arguments)]
    apart = sums and shares > 1 and panel[2] == 1
    steps = (parts.SUM, parts.MAP) if apart else (parts.BOTH,)
    return [Launch(others, shares, step, *arguments) for step in steps]


def _vector(v: Array | None, x: Array) -> Array | None:
    """A parameter as the kernels take it."""
    return None if v is None else np.ascontiguousarray(v, x.dtype)


def _address(x: Array | None) -> int:
    return 0 if x is None else memory.address(x)
