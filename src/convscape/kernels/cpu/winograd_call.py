"""Calls by Winograd, on one axis or on two: all is known but where things lie."""

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from convscape.kernels.cpu import memory as workspace
from convscape.kernels.cpu.bound import Bound, Launch, Result
from convscape.kernels.cpu.clip import limit
from convscape.kernels.cpu.layout import Array, flat, is_channels_last, lies_last, padded, plain
from convscape.kernels.cpu.simd import ROWS

X, WEIGHT, MADE, Y, BIAS, ROOM = range(6)
"""Addresses that launches are told: MADE is what was made of constant weights, ROOM a workspace."""


_TILES = 17 * ROWS  # of one thread at once: their products with a block are 918 KiB
_TILE = 3  # what a tile's transform costs, in kernels of as many input channels


def division(tiles: int, channels: int, threads: int) -> tuple[bool, int]:
    """Whether threads divide tiles, not output channels; and how many tiles are taken at once."""
    by_tiles = tiles * _TILE > channels
    return by_tiles, _TILES * threads if by_tiles else _TILES


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Call:
    """A convolution of channels-last memory, or its input gradient.

    Args:
        adjoint: Whether it is an input gradient: the kernels are reversed, their channels swapped.
        shape: Of the input, (N, C, H, W).
        result: Shape of the output.
        no_bias: Zeros.
        threads: Threads to use.
        room: Elements of a workspace that lives as long as a call.
        known: Its launches, by the arguments of `launches`.
    """

    adjoint: bool
    shape: tuple[int, ...]
    result: tuple[int, int, int, int]
    no_bias: Array
    threads: int
    room: int = 0
    known: dict[Any, list[Launch]] = field(default_factory=dict)

    @abstractmethod
    def launches(self, kernels: tuple[int, ...], packs: bool, relu: bool) -> list[Launch]:
        """What computes it, given the weights' elements and strides.

        Unless it `packs`, it is told where that lies which was made of the weights.
        """

    @property
    def channels(self) -> tuple[int, int]:
        """Of the input and of the output."""
        return self.shape[1], self.result[1]

    def __call__(
        self, kernels: tuple[int, ...], packs: bool, x: int, weight: int, made: int, y: int,
        bias: Array | None, relu: bool | float,
    ) -> None:  # fmt: skip
        """Compute, given the addresses of all, and otherwise as in `launches`."""
        key = kernels, packs, bool(relu)
        launches = self.known.get(key)
        if launches is None:
            launches = self.known[key] = self.launches(*key)
        none = self.no_bias
        added = none if bias is None else np.ascontiguousarray(bias, none.dtype)
        # Both live as long as this call.
        room = workspace.empty(self.room, none.dtype) if self.room else none
        places = x, weight, made, y, workspace.address(added), workspace.address(room)
        for launch in launches:
            launch(*places)
        if not isinstance(relu, bool):
            # No well-known network has an upper bound here: it is a pass of its own.
            limit(y, prod(self.result), relu, none.dtype, self.threads)

    def bound(
        self, strides: tuple[int, ...], weight_shape: tuple[int, ...],
        weight_strides: tuple[int, ...], packs: bool,
    ) -> Bound | None:  # fmt: skip
        """What to call for an input and weights with these strides; None for one with gaps."""
        there = lies_last(self.shape, strides) and prod(self.result) > 0
        if not there or min(weight_strides) < 0:
            return None
        places = zip(weight_shape, weight_strides, strict=True)
        size = 1 + sum((m - 1) * step for m, step in places)
        fill = partial(self, (size, *weight_strides), packs)
        return Bound((Result.of(self.result, self.no_bias.dtype, True),), fill)

    def convolve(
        self, x: Array, weight: Array, bias: Array | None, relu: bool | float, made: Array | None
    ) -> Array:
        """The result for arrays of any strides, in x's memory order."""
        n, k, h, w = self.result
        y = workspace.empty(n * k * h * w, x.dtype)
        if y.size:
            memory, _ = padded(x, ((0, 0), (0, 0)), self.threads)
            kernels, steps = flat(weight)
            at, weights, out = map(workspace.address, (memory, kernels, y))
            given = 0 if made is None else workspace.address(made)
            self((kernels.size, *steps), made is None, at, weights, given, out, bias, relu)
        y = y.reshape(n, h, w, k)
        return y.transpose(0, 3, 1, 2) if is_channels_last(x) else plain(y, self.threads)
