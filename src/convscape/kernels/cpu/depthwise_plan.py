"""Which input pixels the output pixels of a depthwise convolution meet, by row and column.

Outputs of one axis come in phases, as in `convscape.kernels.cpu.phases`: the forward pass has one,
the input gradient one for each step of the stride. Output i of a phase meets, with kernel cell
number q of the phase, the input cell i step + origin + q tap_step.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.kernels.cpu.phases import phase_of

Array = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Tile:
    """A few output pixels of a line, computed at once in registers.

    Output t meets, with cell s of a kernel row, input column t step + s of the tile: a column that
    several outputs meet is read once. A tile of width 1 serves every window: each kernel cell is
    taken as a row of its own, with a column for each output.

    Args:
        pixels: Outputs.
        width: Cells of a kernel row.
        step: Columns from one output to the next.
    """

    pixels: int
    width: int = 1
    step: int = 1

    @property
    def columns(self) -> int:
        """Input columns that a kernel row meets."""
        return (self.pixels - 1) * self.step + self.width


@dataclass(frozen=True, slots=True)
class _Axis:
    """One phase: its kernel cells, and the rule above."""

    kernel: range
    origin: int
    step: int
    tap_step: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that the kernels need to know of a geometry, channels and memory apart.

    Args:
        shape: Input (H, W) and output (H', W').
        order: The kernel cells r S + s, phase by phase: how weights are packed.
        rows: For each phase of H: origin, step, tap step, kernel cells, those of earlier phases.
        segments: Runs of tiles along W: first output cell, distance of cells, outputs in the
            last tile, tiles, kernel cells, those of earlier phases, the tile's number, its pixels,
            input columns from one tile to the next, rows that a kernel row makes, addresses in
            all of them. Only a tile away from the borders is followed by others.
        cells: For each segment's first tile the input columns of a kernel row, or -1.
    """

    shape: tuple[int, int, int, int]
    order: Array
    rows: Array
    segments: Array
    cells: Array

    @property
    def taps(self) -> int:
        """Kernel cells that meet an output."""
        return len(self.order)


@lru_cache(256)
def plan(
    geometry: Geometry, spatial: tuple[int, ...], adjoint: bool, tiles: tuple[Tile, ...],
    exact: bool = False,
) -> Plan:  # fmt: skip
    """The plan of a forward pass on an input of this size, or of its input gradient (`adjoint`).

    Args:
        geometry: Two windows.
        spatial: (H, W) of the forward input.
        adjoint: Whether input and output are those of the input gradient.
        tiles: Tiles to choose from, one of width 1 among them.
        exact: Whether pixels beyond the end of a line, which complete a tile, must meet nothing:
            in a sum over pixels, zero times infinity would be seen.
    """
    sizes = tuple(zip(geometry.windows, spatial, strict=True))
    forward = geometry.output_shape(spatial)[1:]
    (h_in, w_in), (h_out, w_out) = (forward, spatial) if adjoint else (spatial, forward)
    height, width = (_phases(w, n, adjoint) for w, n in sizes)
    columns = geometry.kernel[1]
    order = [r * columns + s for h in height for w in width for r in h.kernel for s in w.kernel]
    rows, before = [], 0
    for h in height:
        rows.append((h.origin, h.step, h.tap_step, len(h.kernel), before))
        before += len(h.kernel) * sum(len(w.kernel) for w in width)
    segments, cells = _segments(width, w_in, tiles, exact)
    return Plan(
        (h_in, w_in, h_out, w_out), np.array(order, np.int64), np.array(rows, np.int64),
        segments, cells,
    )  # fmt: skip


def _phases(window: Window, size: int, adjoint: bool) -> list[_Axis]:
    if not adjoint:
        kernel, low = range(window.kernel), -window.padding[0]
        return [_Axis(kernel, low, window.stride, window.dilation, window.output(size))]
    phases = [phase_of(window, p, size) for p in range(min(window.stride, size))]
    # Backwards, so that a later kernel cell is further in memory, as in the forward pass.
    return [
        _Axis(
            range(p.first, p.first + p.taps * p.every, p.every)[::-1],
            p.start - p.back * (p.taps - 1), 1, p.back, p.count,
        )
        for p in phases
    ]  # fmt: skip


def _fitting(w: _Axis, tiles: tuple[Tile, ...]) -> list[Tile]:
    """The tiles made for these kernel cells; those of width 1 where there are none."""
    steps = (w.step, w.tap_step)
    made_for = [t for t in tiles if t.width == len(w.kernel) and (t.step, 1) == steps]
    return made_for or [t for t in tiles if t.width == 1]


def _best(tiles: list[Tile], count: int) -> Tile:
    """The tile that leaves the fewest pixels idle, and of those the longest."""
    return min(tiles, key=lambda t: (-count % t.pixels, -t.pixels))


def _segments(
    width: list[_Axis], size: int, tiles: tuple[Tile, ...], exact: bool
) -> tuple[Array, Array]:
    segments: list[list[int]] = []
    cells: list[Array] = []
    before = 0
    for phase, w in enumerate(width):
        tile = _best(_fitting(w, tiles), w.count)
        first, joined = 0, False
        while first < w.count:
            if exact and first + tile.pixels > w.count:
                tile, joined = _best([t for t in tiles if t.width == 1], w.count - first), False
            column = _columns(w, first, tile, size)
            inner = bool((column >= 0).all()) and first + tile.pixels <= w.count
            if inner and joined:
                segments[-1][3] += 1
            else:
                real = min(tile.pixels, w.count - first)
                split = len(w.kernel) if tile.width == 1 else 1
                segments.append([
                    phase + first * len(width), len(width), real, 1, len(w.kernel), before,
                    tiles.index(tile), tile.pixels, tile.pixels * w.step, split, len(column),
                ])  # fmt: skip
                cells.append(column)
            first, joined = first + tile.pixels, inner
        before += len(w.kernel)
    longest = max(map(len, cells), default=0)
    table = [np.pad(column, (0, longest - len(column))) for column in cells]
    return np.array(segments, np.int64), np.array(table, np.int64)


def _columns(w: _Axis, first: int, tile: Tile, size: int) -> Array:
    """The input columns that a tile meets with one kernel row; -1 for those that are not there."""
    if tile.width == 1:
        i, q = first + np.arange(tile.pixels), np.arange(len(w.kernel))[:, None]
        column = i * w.step + w.origin + q * w.tap_step
        column[:, i >= w.count] = -1
        column = column.reshape(-1)
    else:
        column = first * w.step + w.origin + np.arange(tile.columns)
    column[(column < 0) | (column >= size)] = -1
    return column
