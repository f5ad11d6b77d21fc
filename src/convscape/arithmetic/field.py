"""Receptive fields: which input cells a cell of a later map reads, on one axis, exactly.

A field repeats: cell o + period reads what cell o reads, `step` cells further on. Ordinary
convolution and pooling have period 1; a transposed convolution, whose neighbouring cells read
different numbers of inputs, has the period of its stride. Each phase keeps the exact set of cells
as the bits of an integer, so that the holes that dilation leaves are there too.

Source: A. Araujo, W. Norris and J. Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019; the sets and the phases of transposed convolution are ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import gcd, lcm

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.window import Window

MAX_CELLS = 1 << 20
"""Largest field that is followed cell by cell (a bit for each cell)."""

MAX_PERIOD = 1 << 12
"""Largest number of different phases that is followed."""


MAX_TAPS = 1 << 20
"""Largest number of kernel cells, over all phases, that is put together one by one."""


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive fields of all cells of one axis of a map, on one axis of the input.

    Borders do not cut it: padding counts as cells with negative numbers, or numbers past the end.
    `read_cells` gives what is left at the borders of a real input.

    Args:
        starts: For each phase r, the first input cell that cell r reads.
        masks: For each phase, the set that it reads: bit b stands for cell starts[r] + b.
            0 where it reads nothing (a transposed convolution with stride > kernel).
        step: Input cells that one whole period moves by.

    Example:
        >>> field = Field.of(Window(3, stride=2), Window(3, dilation=2))
        >>> field.size, field.jump, field.cells(0)
        (11, Fraction(2, 1), (0, 1, 2, 4, 5, 6, 8, 9, 10))
    """

    starts: tuple[int, ...] = (0,)
    masks: tuple[int, ...] = (1,)
    step: int = 1

    @classmethod
    def of(cls, *windows: Window) -> "Field":
        """The field of a chain of windows, the first one next to the input."""
        return reduce(cls.then, windows, cls())

    @property
    def period(self) -> int:
        """Number of cells after which the pattern repeats."""
        return len(self.starts)

    @property
    def size(self) -> int:
        """Input cells from the first to the last that a cell reads; the largest of all phases."""
        return max(mask.bit_length() for mask in self.masks)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The same for each phase."""
        return tuple(mask.bit_length() for mask in self.masks)

    @property
    def jump(self) -> Fraction:
        """Input cells between neighbouring cells, on average; below 1 after upsampling."""
        return Fraction(self.step, self.period)

    @property
    def holes(self) -> int:
        """Cells inside the field of size `size` that are not read (gridding)."""
        mask = max(self.masks, key=int.bit_length)
        return mask.bit_length() - mask.bit_count()

    def interval(self, o: int) -> tuple[int, int] | None:
        """First and last input cell that cell o reads, padding included; None if it reads none.

        Example:
            >>> Field.of(Window(3, stride=2, padding=(1, 1))).interval(0)
            (-1, 1)
        """
        start, mask = self._at(o)
        return (start, start + mask.bit_length() - 1) if mask else None

    def cells(self, o: int) -> tuple[int, ...]:
        """Every input cell that cell o reads, padding included."""
        start, mask = self._at(o)
        return tuple(start + b for b in bits(mask))

    def centre(self, o: int) -> Fraction | None:
        """Middle of the interval of cell o, in input cells; None if it reads none.

        Example:
            >>> Field.of(Window(2, stride=2)).centre(3)
            Fraction(13, 2)
        """
        span = self.interval(o)
        return Fraction(sum(span), 2) if span else None

    def mean_centre(self) -> Fraction | None:
        """Centre of cell 0 when the phases' differences are averaged out; for comparing branches.

        It is the mean over one period of centre(r) - r jump; None if a phase reads nothing.
        """
        centres = [self.centre(r) for r in range(self.period)]
        known = [c for c in centres if c is not None]
        if len(known) < self.period:
            return None
        return sum(known, Fraction(0)) / self.period - self.jump * (self.period - 1) / 2

    def then(self, window: Window) -> "Field":
        """The field after one more window.

        For input_dilation 1 and period 1: start' = start - low step, size' = size +
        (extent - 1) step, step' = step stride. Otherwise each phase is put together from the
        cells its taps meet; the period becomes the least one after which taps and phases agree.

        Raises:
            InputError: The field grows past MAX_CELLS, or its period past MAX_PERIOD.
        """
        low = window.padding[0]
        reach = self.size + self.step * (window.extent - 1)
        if reach > MAX_CELLS * window.input_dilation:
            raise _too_large("cells", reach, MAX_CELLS)
        if self.period == 1 and window.input_dilation == 1:
            mask = smear(self.masks[0], window.kernel, window.dilation * self.step)
            return Field((self.starts[0] - low * self.step,), (mask,), self.step * window.stride)
        spread = window.input_dilation * self.period
        period = spread // gcd(window.stride, spread)
        if period > MAX_PERIOD:
            raise _too_large("different phases", period, MAX_PERIOD)
        if period * window.kernel > MAX_TAPS:
            raise _too_large("taps of different phases", period * window.kernel, MAX_TAPS)
        phases = [self._gather(window, o) for o in range(period)]
        step = period * window.stride // spread * self.step
        return Field(tuple(s for s, _ in phases), tuple(m for _, m in phases), step)._reduced()

    def union(self, other: "Field") -> "Field":
        """Field of a sum, product or concatenation of two maps over the same input.

        Raises:
            InputError: The jumps differ, so the union is different for every cell.

        Example:
            >>> wide = Field.of(Window(5, padding=(2, 2)))
            >>> wide.union(Field.of(Window(1))) == wide
            True
        """
        if self == other:
            return self
        if self.jump != other.jump:
            raise InputError(
                "branches that meet must move over the input at the same pace",
                f"jumps {self.jump} and {other.jump}",
                "give both branches the same product of strides; read_cells gives single cells",
            )
        period = lcm(self.period, other.period)
        if period > MAX_PERIOD:
            raise _too_large("different phases", period, MAX_PERIOD)
        phases = [_join((self._at(o), other._at(o))) for o in range(period)]
        step = int(self.jump * period)
        return Field(tuple(s for s, _ in phases), tuple(m for _, m in phases), step)._reduced()

    def offset(self, other: "Field") -> Fraction | None:
        """How far the centre of this field lies from another's, in input cells; 0 is aligned.

        None when it has no single value: the jumps differ, or some cells read nothing.
        """
        mine, theirs = self.mean_centre(), other.mean_centre()
        if self.jump != other.jump or mine is None or theirs is None:
            return None
        return mine - theirs

    def _at(self, o: int) -> tuple[int, int]:
        turn, phase = divmod(o, self.period)
        return self.starts[phase] + turn * self.step, self.masks[phase]

    def _gather(self, window: Window, o: int) -> tuple[int, int]:
        first, gap = window.start(o), window.input_dilation
        met = (first + k * window.dilation for k in range(window.kernel))
        return _join(self._at(t // gap) for t in met if t % gap == 0)

    def _reduced(self) -> "Field":
        """The same field with its shortest period, so that equal fields compare equal."""
        for period in range(1, self.period):
            if self.period % period or self.step % (self.period // period):
                continue
            step = self.step // (self.period // period)
            short = Field(self.starts[:period], self.masks[:period], step)
            if all(short.cells(o) == self.cells(o) for o in range(self.period)):
                return short
        return self


def read_cells(windows: Sequence[Window], n: int, o: int) -> tuple[int, ...]:
    """The cells of a real input of n that cell o of a chain of windows reads: exact, borders cut.

    It goes back from the output, and drops what falls on padding at every layer. Clipping
    `Field.interval` to 0..n-1 is not the same: where an earlier layer leaves trailing cells
    unread, padding of a later one stands in for them.

    Args:
        windows: The chain, the first one next to the input.
        n: Input cells.
        o: A cell of the last map.

    Raises:
        InputError: The last map has no cell o.

    Example:
        >>> read_cells([Window(3, stride=2), Window(3, padding=(1, 1))], n=6, o=1)
        (0, 1, 2, 3, 4)
    """
    sizes = [n]
    for window in windows:
        sizes.append(window.output(sizes[-1]))
    if not 0 <= o < sizes[-1]:
        raise InputError(
            "the cell must lie on the last map", f"cell {o} of {sizes[-1]}", "count cells from 0"
        )
    mask = 1 << o
    for window, cells in zip(reversed(windows), reversed(sizes[:-1]), strict=True):
        mask = back(window, mask, cells)
    return tuple(bits(mask))


def back(window: Window, mask: int, n: int) -> int:
    """The set of input cells, out of n, that a set of output cells reads; sets as bit masks.

    Example:
        >>> bin(back(Window(3, stride=2, padding=(1, 1)), 0b10, 5))
        '0b1110'
    """
    if not mask or n <= 0:
        return 0
    if window.stride > 1:  # bit o moves to bit o stride
        mask = int(("0" * (window.stride - 1)).join(f"{mask:b}"), 2)
    mask = smear(mask, window.kernel, window.dilation)
    low = window.padding[0]
    mask = mask >> low if low >= 0 else mask << -low
    mask &= (1 << ((n - 1) * window.input_dilation + 1)) - 1
    if window.input_dilation > 1 and mask:  # only every input_dilation-th bit is an input cell
        mask = int(f"{mask:b}"[::-1][:: window.input_dilation][::-1], 2)
    return mask


def smear(mask: int, count: int, distance: int) -> int:
    """The union of `count` copies of a set, each `distance` after the one before.

    Example:
        >>> bin(smear(0b1, 3, 2))
        '0b10101'
    """
    out, have = mask, 1
    while have < count:  # doubling: a kernel of 1,000 takes ten steps
        more = min(have, count - have)
        out |= out << (more * distance)
        have += more
    return out


def bits(mask: int) -> Iterable[int]:
    """The numbers of the bits that are set, smallest first."""
    return (b for b, bit in enumerate(reversed(f"{mask:b}")) if bit == "1")


def _join(parts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Union of sets given as (start, mask); the result's mask has its lowest bit set, or is 0."""
    start, mask = 0, 0
    for at, more in parts:
        if not more:
            continue
        if not mask:
            start, mask = at, more
        elif at >= start:
            mask |= more << (at - start)
        else:
            start, mask = at, more | mask << (start - at)
    return start, mask


def _too_large(what: str, got: int, limit: int) -> InputError:
    return InputError(
        f"a field is followed up to {limit} {what}", f"{got} {what}", "use smaller kernels"
    )
