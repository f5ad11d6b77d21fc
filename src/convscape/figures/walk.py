"""What a window does step by step, with numbers: the frames of a figure before they are drawn.

Every cell comes from `Window.taps` and `Window.start`: nothing here knows a rule about shapes.
One axis is drawn as one row: it gets a first axis of one cell and the window that reads it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Literal

from convscape.arithmetic.average import divisors
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.operations import Operation
from convscape.arithmetic.window import Window
from convscape.figures.limits import check_drawable, places
from convscape.figures.numbers import Maps, Number
from convscape.figures.steps import Add, Pair, Scatter, Step, Tap

Kind = Literal["cell", "gap", "pad"]


@dataclass(frozen=True)
class Walk:
    """A layer on an input, with numbers.

    Args:
        operation: One of `OPERATIONS`.
        windows: The window of both axes, as it slides (padding explicit, ceil_mode applied).
        spatial: Input cells of both axes.
        x: The input's numbers, [C][height][width].
        weights: The kernel's numbers, [K][C / groups][height][width]; empty in pooling. Of a
            transposed convolution they are what each input cell spreads (not turned).
        groups: Channel groups.
        configured: The windows before ceil_mode.
        counts_padding: Whether an average divides by configured padding too.
        rank: Axes of the layer, 1 or 2.

    Raises:
        InputError: More cells than a figure draws, numbers that do not fit the sizes, or windows
            that give no output.
    """

    operation: Operation
    windows: tuple[Window, Window]
    spatial: Pair
    x: Maps
    weights: tuple[Maps, ...] = ()
    groups: int = 1
    configured: tuple[Window, Window] | None = None
    counts_padding: bool = False
    rank: int = 2

    def __post_init__(self) -> None:
        check_drawable(self.windows, self.spatial, len(self.x), self.out_channels)
        _check_shape("values", [[len(row) for row in rows] for rows in self.x], self.spatial)
        kernel = (self.windows[0].kernel, self.windows[1].kernel)
        for maps in self.weights:
            _check_shape("weights", [[len(row) for row in rows] for rows in maps], kernel)

    @property
    def pooling(self) -> bool:
        """Whether it is max or average pooling."""
        return self.operation in ("max_pool", "avg_pool")

    @property
    def out_channels(self) -> int:
        """Output maps."""
        return len(self.x) if not self.weights else len(self.weights)

    @property
    def outputs(self) -> Pair:
        """Output cells of both axes."""
        rows, columns = (w.output(n) for w, n in zip(self.windows, self.spatial, strict=True))
        return rows, columns

    @property
    def overhang(self) -> Pair:
        """Cells that ceil_mode adds at the high end of both axes; they are not configured."""
        if self.configured is None:
            return 0, 0
        rows, columns = (
            w.padding[1] - c.padding[1] for w, c in zip(self.windows, self.configured, strict=True)
        )
        return rows, columns

    def places(self, axis: int) -> range:
        """Every position of a padded axis, cropped cells included; 0 is the first real cell."""
        w, n = self.windows[axis], self.spatial[axis]
        return places(w, n)

    def kind(self, row: int, column: int) -> Kind:
        """What lies at a position: a real cell, a zero of the spreading, or padding."""
        inside = True
        for axis, t in enumerate((row, column)):
            e, n = self.windows[axis].input_dilation, self.spatial[axis]
            if not 0 <= t <= (n - 1) * e:
                return "pad"
            inside = inside and t % e == 0
        return "cell" if inside else "gap"

    @cached_property
    def unread(self) -> frozenset[Pair]:
        """Input cells that no window reads: rows or columns of `Window.unread`."""
        rows, columns = (
            frozenset(w.unread(n)) for w, n in zip(self.windows, self.spatial, strict=True)
        )
        height, width = self.spatial
        return frozenset(
            (r, c) for r in range(height) for c in range(width) if r in rows or c in columns
        )

    def channels_of(self, k: int) -> range:
        """The input channels that output channel k reads."""
        if self.pooling:
            return range(k, k + 1)
        each = len(self.x) // self.groups
        group = k // (self.out_channels // self.groups)
        return range(group * each, (group + 1) * each)

    def laid(self, k: int, channel: int) -> tuple[tuple[Number, ...], ...]:
        """The kernel as the window lays it: turned by half a turn when transposed."""
        kernel = self.weights[k][channel - self.channels_of(k).start]
        if self.operation == "transposed":
            return tuple(tuple(reversed(row)) for row in reversed(kernel))
        return kernel

    @property
    def count(self) -> int:
        """Number of windows: output cells of all channels."""
        return self.out_channels * prod(self.outputs)

    def step(self, index: int) -> Step:
        """The window of one output cell, counted in reading order, channel after channel.

        Raises:
            InputError: There is no such window.
        """
        if not 0 <= index < self.count:
            raise InputError(
                "the step must be one of the windows", f"{index} of {self.count}", "count from 0"
            )
        rows, columns = self.outputs
        k, rest = divmod(index, rows * columns)
        return self.at(k, *divmod(rest, columns))

    def at(self, k: int, row: int, column: int) -> Step:
        """The window that makes one output cell."""
        (wr, wc), (n, m) = self.windows, self.spatial
        ys, xs = wr.taps(row, n), wc.taps(column, m)
        top, left = wr.start(row), wc.start(column)
        taps = []
        for channel in self.channels_of(k):
            kernel = None if self.pooling else self.laid(k, channel)
            for r, y in enumerate(ys):
                for c, x in enumerate(xs):
                    place = top + r * wr.dilation, left + c * wc.dilation
                    cell = None if y is None or x is None else (y, x)
                    value = self._value(channel, cell)
                    weight = None if kernel is None else kernel[r][c]
                    taps.append(Tap(channel, (r, c), place, cell, value, weight))
        return self._summed((k, row, column), tuple(taps))

    def _value(self, channel: int, cell: Pair | None) -> Number | None:
        if cell is not None:
            return self.x[channel][cell[0]][cell[1]]
        return None if self.operation == "max_pool" else 0

    def _summed(self, out: tuple[int, int, int], taps: tuple[Tap, ...]) -> Step:
        if self.operation == "max_pool":
            real = [t.value for t in taps if t.value is not None]
            return Step(out, taps, max(real) if real else None)
        if self.operation == "avg_pool":
            total = Fraction(sum(t.value or 0 for t in taps))
            divisor = self._divisor(out[1], out[2])
            return Step(out, taps, total / divisor if divisor else None, divisor)
        return Step(out, taps, sum((t.value or 0) * (t.weight or 0) for t in taps))

    def _divisor(self, row: int, column: int) -> int:
        paddings = [
            w.padding if self.counts_padding else (0, 0) for w in self.configured or self.windows
        ]
        return prod(
            divisors(w, n, counted)[o]
            for w, n, counted, o in zip(
                self.windows, self.spatial, paddings, (row, column), strict=True
            )
        )

    @cached_property
    def results(self) -> tuple[tuple[tuple[Number | None, ...], ...], ...]:
        """The whole output, [K][rows][columns]."""
        rows, columns = self.outputs
        return tuple(
            tuple(tuple(self.at(k, r, c).result for c in range(columns)) for r in range(rows))
            for k in range(self.out_channels)
        )

    def scatters(self) -> tuple[Scatter, ...]:
        """A transposed convolution as scattering: every input cell spreads the kernel.

        Where its multiples land are the taps of the adjoint window, the convolution that is
        transposed.

        Raises:
            InputError: It is not a transposed convolution.
        """
        if self.operation != "transposed":
            raise InputError(
                "only a transposed convolution scatters", self.operation, "draw it as windows"
            )
        rows, columns = self.outputs
        totals: list[list[list[Number]]] = [
            [[0] * columns for _ in range(rows)] for _ in self.weights
        ]
        out = []
        for channel, values in enumerate(self.x):
            for y, row in enumerate(values):
                for x, value in enumerate(row):
                    adds = tuple(self._adds(channel, y, x))
                    for add in adds:
                        if add.kept:
                            totals[add.channel][add.place[0]][add.place[1]] += value * add.weight
                    frozen = tuple(tuple(tuple(line) for line in lines) for lines in totals)
                    out.append(Scatter((channel, y, x), value, adds, frozen))
        return tuple(out)

    @cached_property
    def scattering(self) -> tuple[Window, Window]:
        """The convolution that is transposed: its taps are where an input cell adds."""
        rows, columns = (w.adjoint(n) for w, n in zip(self.windows, self.spatial, strict=True))
        return rows, columns

    def _adds(self, channel: int, y: int, x: int) -> Iterator[Add]:
        (fr, fc), (rows, columns) = self.scattering, self.outputs
        to_rows, to_columns = fr.taps(y, rows), fc.taps(x, columns)
        for k in range(self.out_channels):
            mine = self.channels_of(k)
            if channel not in mine:
                continue
            kernel = self.weights[k][channel - mine.start]
            for r, to_row in enumerate(to_rows):
                for c, to_column in enumerate(to_columns):
                    place = fr.start(y) + r * fr.dilation, fc.start(x) + c * fc.dilation
                    kept = to_row is not None and to_column is not None
                    yield Add(k, (r, c), place, kept, kernel[r][c])

    def geometry(self) -> Geometry:
        """The same problem without numbers."""
        return Geometry(self.windows, len(self.x), self.out_channels, self.groups)


def _check_shape(name: str, lengths: list[list[int]], wanted: Pair) -> None:
    for rows in lengths:
        if len(rows) != wanted[0] or set(rows) != {wanted[1]}:
            raise InputError(
                f"the {name} must have the size that is drawn",
                f"{len(rows)}x{rows[0] if rows else 0} for {wanted[0]}x{wanted[1]}",
                f"give {wanted[0]} rows of {wanted[1]} numbers",
            )
