"""The plain records of a walk: what one window reads, and what one input cell scatters."""

from dataclasses import dataclass

from convscape.figures.numbers import Maps, Number

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tap:
    """One kernel cell of one window.

    Args:
        channel: The input channel.
        kernel: Row and column in the kernel, as the window lays it.
        place: Row and column on the spread input, counted from its first real cell.
        cell: Row and column of the input cell it meets; None where it meets a zero.
        value: The number it meets; None is minus infinity (padding of max pooling).
        weight: What it multiplies by; None in pooling.
    """

    channel: int
    kernel: Pair
    place: Pair
    cell: Pair | None
    value: Number | None
    weight: Number | None


@dataclass(frozen=True, slots=True)
class Step:
    """One window: the output cell that it makes, and what it reads.

    Args:
        out: Channel, row and column of the output.
        taps: Its kernel cells, channel by channel, in reading order.
        result: The output's number; None where max pooling sees padding alone, or an average
            nothing that counts.
        divisor: What an average divides by.
    """

    out: tuple[int, int, int]
    taps: tuple[Tap, ...]
    result: Number | None
    divisor: int | None = None


@dataclass(frozen=True, slots=True)
class Add:
    """One multiple of a kernel cell that an input cell adds to the output.

    Args:
        channel: The output channel.
        kernel: Row and column in the kernel.
        place: Row and column on the output; outside of it where the crop drops it.
        kept: Whether it lies on the output.
        weight: The kernel's number.
    """

    channel: int
    kernel: Pair
    place: Pair
    kept: bool
    weight: Number


@dataclass(frozen=True, slots=True)
class Scatter:
    """One input cell of a transposed convolution: where it adds its multiples of the kernel.

    Args:
        cell: Channel, row and column of the input.
        value: Its number.
        adds: What it adds, kernel cell by kernel cell.
        totals: The output after this cell.
    """

    cell: tuple[int, int, int]
    value: Number
    adds: tuple[Add, ...]
    totals: Maps
