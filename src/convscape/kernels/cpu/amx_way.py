"""How the threads of a product on the matrix unit divide it."""

from math import prod
from typing import NamedTuple

from convscape.kernels.cpu.amx_pack import line_of
from convscape.kernels.cpu.amx_tiles import BLOCK, DEEP, PANEL, SIDE
from convscape.kernels.cpu.gemm_problem import Products

_NEAR_BYTES = 192 << 10  # panels of a chunk's pixels, which leave room in L2 for what is written
_DEEP_BYTES = 768 << 10  # the same of long sums, which write little and read all weights a chunk
_ALL_BYTES = 1400 << 10  # panels of all pixels, where those of the weights are not kept
_DEPTH = 16  # blocks of one piece of a sum: 512 products
_LIGHT = 1 << 17  # weights that every thread splits for itself
_TWICE = 0.25  # what it costs to split a number once more, in weights that come from another core


class Way(NamedTuple):
    """How products are divided.

    Args:
        by_channels: Whether threads divide output channels, not pixels.
        fresh: Whether each makes the weights' panels that it multiplies with.
        passing: Whether they keep none of these: all pixels' panels are made first.
        most: Groups of pixels of one chunk, an even number.
        depth: Blocks of one piece of a sum.
        span: Blocks of which pixels' panels are made at a time.
        kept: Elements of the sums that are kept from one piece to the next.
        line: Elements that weights are packed in.
    """

    by_channels: bool
    fresh: bool
    passing: bool
    most: int
    depth: int
    span: int
    kept: int
    line: int

    @property
    def room(self) -> int:
        """Bytes that a thread works in, behind each other: panels, sums made, kept, a line."""
        numbers = 2 * BLOCK * BLOCK + self.kept + self.line
        return 2 * self.most * self.span * PANEL + 4 * numbers

    def panels(self, all_panels: int, threads: int) -> int:
        """Numbers of the weights' panels that there must be room for."""
        if self.passing:
            return threads * 2 * self.depth * PANEL
        return threads * all_panels if self.fresh and not self.by_channels else all_panels


def way_of(products: Products, deep: int, given: bool, elements: int, threads: int) -> Way:
    """How the threads of a product divide it.

    Weights whose panels are not given are split by each thread for itself: all where they are few,
    else those of its output channels; where the pixels' panels fit beside, as they are needed.
    Where splitting all pixels twice would take longer than passing panels from core to core, all
    threads split the weights together, beforehand.

    Args:
        products: Where everything lies.
        deep: Blocks of the longest product.
        given: Whether the weights' panels are given.
        elements: Of the input.
        threads: Threads to use.
    """
    _, k, c, r, s = products.shape
    weights, depth = k * c * r * s, min(deep, _DEPTH)
    groups = max(-(-prod(p.y_shape) // p.y_shape[1] // SIDE) for p in products.each)
    blocks, every = -(-k // BLOCK), groups + groups % 2
    even = -(-blocks // threads) * threads * 10 <= 11 * blocks
    fits = len(products.each) == 1 and 2 * PANEL * deep * every <= _ALL_BYTES
    few = weights <= _LIGHT or threads == 1
    twice = groups * SIDE * deep * DEEP * _TWICE > weights
    passing = not given and even and fits and weights > _LIGHT
    mine = not given and even and not few and not twice
    by_channels = passing or mine or (given and even and weights > elements)
    fresh = passing or mine or (not given and few)
    near = _NEAR_BYTES if deep <= _DEPTH else _DEEP_BYTES
    most = max(2, min(near // (2 * PANEL * depth), groups + threads))
    most = every if passing else most + most % 2
    own_blocks = -(-blocks // threads) if by_channels else blocks
    pieces = 1 if passing else own_blocks
    kept = most // 2 * pieces * BLOCK * BLOCK if deep > depth else 0
    line = line_of(c, r, s) if fresh else 0
    return Way(by_channels, fresh, passing, most, depth, deep if passing else depth, kept, line)
