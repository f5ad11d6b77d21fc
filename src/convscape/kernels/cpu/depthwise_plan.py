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
            last tile, tiles, kernel cells, those of earlier phases. Only a tile away from the
            borders is followed by others.
        cells: For each segment's first tile, [kernel cell][pixel], the input column or -1.
        pixels: Output pixels of a tile.
        hop: Input columns from one tile of a segment to the next.
    """

    shape: tuple[int, int, int, int]
    order: Array
    rows: Array
    segments: Array
    cells: Array
    pixels: int
    hop: int

    @property
    def taps(self) -> int:
        """Kernel cells that meet an output."""
        return len(self.order)


@lru_cache(256)
def plan(
    geometry: Geometry, spatial: tuple[int, ...], adjoint: bool, tiles: tuple[int, ...]
) -> Plan:
    """The plan of a forward pass on an input of this size, or of its input gradient (`adjoint`).

    Args:
        geometry: Two windows.
        spatial: (H, W) of the forward input.
        adjoint: Whether input and output are those of the input gradient.
        tiles: Sizes of tiles to choose from.
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
    counts = [w.count for w in width]
    pixels = min(tiles, key=lambda t: (sum(-(-n // t) * t for n in counts), -t))
    segments, cells = _segments(width, w_in, pixels)
    return Plan(
        (h_in, w_in, h_out, w_out), np.array(order, np.int64), np.array(rows, np.int64),
        segments, cells, pixels, pixels * width[0].step,
    )  # fmt: skip


def _phases(window: Window, size: int, adjoint: bool) -> list[_Axis]:
    if not adjoint:
        kernel, low = range(window.kernel), -window.padding[0]
        return [_Axis(kernel, low, window.stride, window.dilation, window.output(size))]
    phases = [phase_of(window, p, size) for p in range(min(window.stride, size))]
    # Backwards, so that the last kernel cell is the furthest in memory, as in the forward pass:
    # what the next line needs first is found behind it.
    return [
        _Axis(
            range(p.first, p.first + p.taps * p.every, p.every)[::-1],
            p.start - p.back * (p.taps - 1), 1, p.back, p.count,
        )
        for p in phases
    ]  # fmt: skip


def _segments(width: list[_Axis], size: int, pixels: int) -> tuple[Array, Array]:
    segments: list[list[int]] = []
    cells = []
    most = max(len(w.kernel) for w in width)
    before = 0
    for phase, w in enumerate(width):
        joined = False
        for first in range(0, w.count, pixels):
            i, q = first + np.arange(pixels), np.arange(len(w.kernel))[:, None]
            column = i * w.step + w.origin + q * w.tap_step
            column[(column < 0) | (column >= size) | (i >= w.count)] = -1
            inner = bool((column >= 0).all()) and first + pixels <= w.count
            if inner and joined:
                segments[-1][3] += 1
                continue
            joined = inner
            real = min(pixels, w.count - first)
            cell = phase + first * len(width)
            segments.append([cell, len(width), real, 1, len(w.kernel), before])
            cells.append(np.pad(column.reshape(-1), (0, (most - len(w.kernel)) * pixels)))
        before += len(w.kernel)
    return np.array(segments, np.int64), np.array(cells, np.int64)
