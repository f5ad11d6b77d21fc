"""The order of memory in which batch normalization computes."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from convscape.kernels.cpu.layout import Array


class Layout(NamedTuple):
    """How an (N, C, ...) array lies in memory, and how kernels see it.

    Args:
        strides: Bytes, of a dense array of this shape and order.
        last: Whether the channels are its fastest axis.
        whole: Whether the array lies so.
    """

    strides: tuple[int, ...]
    last: bool
    whole: bool


@lru_cache(maxsize=1024)  # of every call, for few different arrays
def layout_of(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Layout:
    """The order of memory to compute in: the array's own where it is dense."""
    n, c, *rest = shape
    run = prod(rest)
    plain = _dense(shape, itemsize)
    (batch, *others, channel) = _dense((n, *rest, c), itemsize)
    order = batch, channel, *others

    def lies(wanted: tuple[int, ...]) -> bool:
        return all(m == 1 or s == w for m, s, w in zip(shape, strides, wanted, strict=True))

    if lies(order) and not (lies(plain) and run > 1):
        return Layout(order, True, True)
    return Layout(plain, False, lies(plain))


def _dense(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Bytes from element to element of a contiguous array, an axis each."""
    return tuple(itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def in_line(x: Array, layout: Layout) -> Array:
    """The array as flat memory in this order, copied where it does not lie so."""
    if x.strides == layout.strides:
        return x.ravel("K")
    if layout.last:
        x = np.moveaxis(x, 1, -1)
    return np.ascontiguousarray(x).reshape(-1)
