"""How the threads of an implicit matrix product divide it, and who packs its weights."""

from math import prod
from typing import NamedTuple

from convscape.kernels.cpu.gemm_problem import Products
from convscape.kernels.cpu.simd import ROWS, SIMD
from convscape.kernels.cpu.tile import WIDEST

DEPTH = 256
"""Products of one piece of a sum: longer ones lose digits."""

_CHUNK_BYTES = 256 << 10  # of input that a chunk of pixels reads: it stays in L2
_MUCH_BYTES = 512 << 10  # the same where there are more weights: each chunk reads them all
_MOST = 64 * ROWS  # pixels of one chunk: their tiles are 98 KiB
_FEW = 1400  # pixels of which all sums stay in L2
_NEAR_BYTES = 1 << 20  # of an input that stays in L2
_FAR_BYTES = 8 << 20  # of an input that stays in L3
_LIGHT = 1 << 18  # weights that every thread packs for itself: they stay in L2


class Way(NamedTuple):
    """How products are divided and their weights packed.

    Weights that a thread packs itself go to memory of its own, a block of output channels at a
    time: from one core's cache to another's is a long way.

    Args:
        by_channels: Whether threads divide output channels, not pixels.
        fresh: Whether threads pack for themselves.
        keep: Whether they keep all that they pack.
        together: Whether all pixels are one chunk, that some input channels at a time pass by.
        channels: Input channels packed at a time.
        pixels: At most, of a chunk.
        room: Elements that threads pack into, 0 where they do not.
    """

    by_channels: bool
    fresh: bool
    keep: bool
    together: bool
    channels: int
    pixels: int
    room: int


def way_of(products: Products, unpacked: bool, elements: int, threads: int, lanes: int) -> Way:
    """How products are divided and their weights packed.

    Args:
        products: Where everything lies.
        unpacked: Whether the weights are still to be packed.
        elements: Of the input.
        threads: Threads to use.
        lanes: Of a vector.

    Returns:
        By channels where the sums of all pixels stay near, else by pixels; packed by each thread
        where the weights, or a block of them, stay near.
    """
    groups, k, c, r, s = products.shape
    pixels = sum(-(-prod(p.y_shape) // p.y_shape[1] // ROWS) * ROWS for p in products.each)
    vectors, block = -(-k // lanes), r * s * WIDEST * lanes
    weights, size = groups * k * c * r * s, SIMD.bits // 8 // lanes
    near = _CHUNK_BYTES if weights <= elements else _MUCH_BYTES
    fitting = near // (products.each[0].steps[2] * size) // ROWS * ROWS
    most = max(4 * ROWS, min(_MOST, fitting))
    padding = any(p.batch_last for p in products.each)
    # Threads with output channels of their own need as many each.
    even = -(-vectors // threads) * threads * 10 <= 11 * vectors
    apart = unpacked and not padding and even
    if apart and pixels <= _FEW and elements * size <= _NEAR_BYTES:
        channels = min(c, max(DEPTH // s // lanes, 1) * lanes)
        return Way(True, True, False, True, channels, pixels, threads * block * channels)
    if unpacked and weights <= _LIGHT:
        room = threads * groups * vectors * lanes * c * r * s
        return Way(False, True, True, False, c, most, room)
    if apart and elements * size <= _FAR_BYTES:
        return Way(True, True, False, False, c, most, threads * block * c)
    return Way(weights > elements, False, False, False, c, most, 0)
