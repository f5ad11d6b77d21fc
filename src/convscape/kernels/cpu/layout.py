"""Arrays as flat memory: what every kernel reads and writes.

A kernel gets a one-dimensional contiguous array and strides counted in elements, so one compiled
version serves every memory layout.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import memory
from convscape.kernels.cpu.bound import Launch, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import kernel, team
from convscape.kernels.cpu.scratch import at_address
from convscape.kernels.cpu.threads import launch
from convscape.kernels.cpu.transpose import transpose

_LONG = 1024  # elements of a row beyond which joining rows gains nothing
_BLOCK = 32  # channels that one thread transposes at a time

Array = np.ndarray[Any, np.dtype[Any]]


def flat(x: Array) -> tuple[Array, tuple[int, ...]]:
    """The memory under an array as one dimension, and the array's strides in elements.

    An array that cannot be seen so (negative strides, or not a multiple of the element size) is
    copied first.
    """
    strides, order = _steps(x.shape, x.strides, x.itemsize)
    if strides is None:
        x = np.ascontiguousarray(x)
        strides, order = _steps(x.shape, x.strides, x.itemsize)
    # Memory without gaps is by far the most common, and much faster to see than any other.
    if order is not None:
        return x.transpose(order).reshape(-1), strides
    span = 1 + sum((n - 1) * s for n, s in zip(x.shape, strides, strict=True)) if x.size else 0
    return np.lib.stride_tricks.as_strided(x, (span,), (x.itemsize,)), strides


@lru_cache(maxsize=4096)
def _steps(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> tuple[Any, Any]:
    """Strides in elements, None where negative or not whole; the order of axes without gaps.

    There is none where elements share memory, or memory lies between them.
    """
    if any(stride < 0 or stride % size for stride in strides):
        return None, None
    order = tuple(sorted(range(len(shape)), key=lambda axis: -strides[axis]))
    # Axes of one cell step nowhere; the others' steps are what lies behind them.
    longer = [axis for axis in order if shape[axis] != 1]
    dense = all(
        strides[axis] == size * prod(shape[a] for a in longer[i + 1 :])
        for i, axis in enumerate(longer)
    )
    found = order if dense or 0 in shape else None
    return tuple(stride // size for stride in strides), found


def is_channels_last(x: Array) -> bool:
    """Whether an (N, C, H, W) array lies in memory as N, H, W, C without gaps."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def blank(shape: tuple[int, int, int, int], dtype: Any, channels_last: bool) -> tuple[Array, Array]:
    """An uninitialised (N, C, H, W) array, as one dimension of memory and as what it is."""
    n, c, h, w = shape
    line = memory.empty(n * c * h * w, dtype)
    if channels_last:
        return line, line.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return line, line.reshape(shape)


def empty(shape: tuple[int, int, int, int], dtype: Any, channels_last: bool) -> Array:
    """An uninitialised (N, C, H, W) array, in channels-last memory or in plain order."""
    return blank(shape, dtype, channels_last)[1]


def weight_shaped(dw: Array, geometry: Geometry, channels_last: bool) -> Array:
    """Memory of a weight gradient as (K, C / groups, R, S), in channels-last order or plain."""
    k, c, r, s = geometry.weight_shape
    if channels_last:
        return dw.reshape(k, r, s, c).transpose(0, 3, 1, 2)
    return dw.reshape(k, c, r, s)


def lies_last(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """`is_channels_last` of shape and strides, in elements."""
    _, c, h, w = shape
    dense = h * w * c, 1, w * c, c
    return all(m == 1 or s == d for m, s, d in zip(shape, strides, dense, strict=True))


def order_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool | None:
    """Whether an (N, C, H, W) array without gaps is in channels-last memory; None for others.

    Args:
        shape: Its shape.
        strides: Its strides, in elements.
    """
    if 0 in shape:
        return None
    if lies_last(shape, strides):
        return True
    _, c, h, w = shape
    dense = c * h * w, h * w, w, 1
    plain = all(m == 1 or s == d for m, s, d in zip(shape, strides, dense, strict=True))
    return False if plain else None


def padded(
    x: Array,
    padding: tuple[tuple[int, int], tuple[int, int]],
    threads: int,
    fill: float = 0.0,
) -> tuple[Array, tuple[int, int, int]]:
    """An (N, C, H, W) array as flat channels-last memory, padded; not copied where it lies so.

    Args:
        x: (N, C, H, W), any strides.
        padding: (low, high) of H and of W; negative crops.
        threads: Threads to copy with.
        fill: What padding is filled with.

    Returns:
        The memory, and the strides of N, H and W in elements (C is contiguous).
    """
    n, c, h, w = x.shape
    (top, bottom), (left, right) = padding
    as_it_is = not (top or bottom or left or right)
    if as_it_is:
        last = x.transpose(0, 2, 3, 1)
        if last.flags.c_contiguous:
            return last.reshape(-1), (h * w * c, w * c, c)
    rows, columns = h + top + bottom, w + left + right
    out = memory.empty(n * rows * columns * c, x.dtype)
    source, strides = flat(x)
    if as_it_is and strides[2:] == (w, 1):
        # Several short rows are as good as one long one, and transpose in whole blocks.
        joined = max(f for f in range(1, h + 1) if h % f == 0 and (f == 1 or f * w <= _LONG))
        h, w = h // joined, joined * w
        grid, strides = (h, w), (*strides[:2], w, 1)
    else:
        grid = (rows, columns)
    launch(
        pad_part, threads, (memory.address(source), memory.address(out)), (len(source), len(out)),
        strides, (n, c, h, w), grid, (top, left), np.full(1, fill, x.dtype),
    )  # fmt: skip
    return out, (rows * columns * c, columns * c, c)


@dataclass(frozen=True, slots=True)
class Pads:
    """`padded` where all but addresses is known.

    Args:
        elements: Of the padded memory.
        dtype: Its element type.
        launch: What fills it, given the addresses of the input and of the memory.
    """

    elements: int
    dtype: np.dtype[Any]
    launch: Launch

    @staticmethod
    def of(
        shape: tuple[int, ...], strides: tuple[int, ...], padding: Any, dtype: np.dtype[Any],
        threads: int,
    ) -> "Pads | None":  # fmt: skip
        """For an (N, C, H, W) input with these strides, in elements; None without padding."""
        (top, bottom), (left, right) = padding
        if not (top or bottom or left or right):
            return None
        n, c, h, w = shape
        grid = h + top + bottom, w + left + right
        launch = _pad_launch(shape, strides, grid, (top, left), dtype, threads)
        return Pads(n * prod(grid) * c, dtype, launch)

    def __call__(self, x: int) -> Array:
        """The padded memory of the input at this address."""
        out = memory.empty(self.elements, self.dtype)
        self.launch(x, memory.address(out))
        return out


def to_last(shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, threads: int) -> Launch:
    """What copies an (N, C, H, W) array to channels-last memory, told where both begin.

    Args:
        shape: Of both.
        strides: The array's, in elements.
        dtype: Of both.
        threads: Threads to use.
    """
    return _pad_launch(shape, strides, shape[2:], (0, 0), np.dtype(dtype), threads)


def _pad_launch(
    shape: tuple[int, ...], strides: tuple[int, ...], grid: tuple[int, ...],
    start: tuple[int, int], dtype: np.dtype[Any], threads: int,
) -> Launch:  # fmt: skip
    """`pad_part` with zeros, told where an array and the memory begin."""
    n, c, _, _ = shape
    span = 1 + sum((m - 1) * step for m, step in zip(shape, strides, strict=True))
    return Launch(
        pad_part, threads, (place(0), place(1)), (span, n * prod(grid) * c), tuple(strides),
        tuple(shape), tuple(grid), start, np.zeros(1, dtype),
    )  # fmt: skip


@kernel
def _copy(source, out):
    for i in range(len(out)):
        out[i] = source[i]


@team
def pad_part(part, parts, places, sizes, strides, shape, grid, start, filler):
    """The lines of a padded image from x: `places` says where x and the result begin.

    Args:
        part: Of this share.
        parts: Shares.
        places: Addresses of x and of the result.
        sizes: Elements of both.
        strides: Of x as (N, C, H, W), in elements.
        shape: Of x.
        grid: Lines and columns of the result.
        start: Lines and columns before x's first.
        filler: An array of one element, what padding is filled with.
    """
    if divide(part, parts):
        return
    x, out = at_address(places[0], sizes[0], filler), at_address(places[1], sizes[1], filler)
    fill = filler[0]
    n_size, c_size, h_size, w_size = shape
    sn, sc, sh, sw = strides
    rows, columns = grid
    top, left = start
    lines = n_size * rows
    first, last, c_low, c_high = lines * part // parts, lines * (part + 1) // parts, 0, c_size
    if lines < parts and sw == 1 and grid == (h_size, w_size):
        # Shares are of the channels.
        blocks = (c_size + _BLOCK - 1) // _BLOCK
        first, last = 0, lines
        c_low = blocks * part // parts * _BLOCK
        c_high = min(blocks * (part + 1) // parts * _BLOCK, c_size)
    for line in range(first, last):
        n, row = divmod(line, rows)
        h = row - top
        to = line * columns * c_size
        if h < 0 or h >= h_size:
            out[to : to + columns * c_size] = fill
            continue
        low = max(0, left)
        high = max(low, min(columns, w_size + left))
        out[to : to + low * c_size] = fill
        out[to + high * c_size : to + columns * c_size] = fill
        source = n * sn + h * sh - left * sw
        # Whole slices: an index that starts at 0 is known to be non-negative, and vectorizes.
        if sc == 1 and sw == c_size:
            _copy(x[source + low * c_size :], out[to + low * c_size : to + high * c_size])
        elif sc == 1:
            for w in range(low, high):
                _copy(x[source + w * sw :], out[to + w * c_size : to + (w + 1) * c_size])
        elif sw == 1:
            transpose(
                x, source + low + c_low * sc, sc, c_high - c_low, high - low,
                out, to + low * c_size + c_low, c_size,
            )  # fmt: skip
        else:
            for w in range(low, high):
                line_out = out[to + w * c_size : to + (w + 1) * c_size]
                for c in range(c_size):
                    line_out[c] = x[source + w * sw + c * sc]


def plain(y: Array, threads: int) -> Array:
    """A contiguous (N, H, W, C) array as a contiguous (N, C, H, W) one."""
    n, h, w, c = y.shape
    out = empty((n, c, h, w), y.dtype, False)
    if y.size:
        launch(_plain_part, threads, y.reshape(-1), (n, h * w, c), out.reshape(-1))
    return out


@team
def _plain_part(part, parts, y, shape, out):
    if divide(part, parts):
        return
    n_size, pixels, channels = shape
    blocks = (channels + _BLOCK - 1) // _BLOCK
    jobs = n_size * blocks
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        n, block = divmod(job, blocks)
        low, high = block * _BLOCK, min((block + 1) * _BLOCK, channels)
        transpose(
            y, n * pixels * channels + low, channels, pixels, high - low,
            out, (n * channels + low) * pixels, pixels,
        )  # fmt: skip
