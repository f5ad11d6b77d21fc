"""What happens at the border of an axis: cells no window reads, padding that is read or never is.

Counting is exact and does not walk over the whole axis: away from both ends everything repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Border:
    """How one window treats the ends, and the holes, of n input cells.

    Args:
        head: Input cells before the first window (a crop).
        tail: Input cells beyond the last window: what the floor in the size formula drops.
        skipped: Other input cells that no window reads: between windows when the stride exceeds
            the extent, and in the holes that stride and dilation leave together.
        padding_read: Padding cells at the (low, high) end that some window reads.
        padding_unread: Padding cells at the (low, high) end that no window reads.
        idle: Kernel cells that meet nothing but zeros in every window.
        blind: Output cells whose window reads nothing but zeros.
    """

    head: int
    tail: int
    skipped: int
    padding_read: tuple[int, int]
    padding_unread: tuple[int, int]
    idle: tuple[int, ...]
    blind: int

    @property
    def unread(self) -> int:
        """Input cells that no window reads, all together."""
        return self.head + self.tail + self.skipped


def border(window: Window, n: int) -> Border:
    """Account for every cell and padding cell of one axis.

    Args:
        window: Any window.
        n: Input cells.

    Returns:
        The `Border`; on an axis without output every cell is in `tail`.

    Example:
        >>> border(Window(3, stride=2, padding=(1, 1)), 6)
        ... # doctest: +NORMALIZE_WHITESPACE
        Border(head=0, tail=0, skipped=0, padding_read=(1, 0), padding_unread=(0, 1), idle=(),
               blind=0)
    """
    m, e = window.output(n), window.input_dilation
    low, high = (max(0, p) for p in window.padding)
    if m == 0:
        nothing = tuple(range(window.kernel))
        return Border(0, max(0, n), 0, (0, 0), (low, high), nothing, 0)

    first = window.padding[0]  # where input cell 0 lies on the padded line
    end = (n - 1) * e + 1 + first  # where the high padding begins
    last = (m - 1) * window.stride + window.extent - 1  # the last position that a window reads
    head = min(n, max(0, -(first // e)))
    tail = min(n - head, max(0, n - 1 - (last - first) // e))

    def unread(cell: int) -> bool:
        return not _reads(window, m, cell * e + first)

    def padding_read(t: int) -> bool:
        return _reads(window, m, t)

    def blind(o: int) -> bool:
        return not _meets(o * window.stride - first, window.dilation, window.kernel, e, n)

    # Beyond these bounds the answer is known; between them it repeats, an extent from both ends.
    extent, stride, common = window.extent, window.stride, gcd(window.stride, e)
    margin = extent + stride + e
    skipped = _count(unread, head, n - tail, stride // common, margin // e + 1)
    read_low = _count(padding_read, 0, min(low, last + 1), stride, extent)
    read_high = _count(padding_read, end, min(end + high, last + 1), stride, extent)
    first_seeing = min(m, max(0, -((extent - 1 - first) // stride)))
    first_beyond = min(m, max(first_seeing, (end - 1) // stride + 1))
    zeros = _count(blind, first_seeing, first_beyond, e // common, margin // stride + 1)
    idle = tuple(
        k
        for k in range(window.kernel)
        if not _meets(k * window.dilation - first, window.stride, m, e, n)
    )
    return Border(
        head=head,
        tail=tail,
        skipped=skipped,
        padding_read=(read_low, read_high),
        padding_unread=(low - read_low, high - read_high),
        idle=idle,
        blind=m - first_beyond + first_seeing + zeros,
    )


def _reads(window: Window, m: int, t: int) -> bool:
    """Whether one of m windows reads position t of the padded line: t = o stride + k dilation."""
    first = max(0, -((-t + (m - 1) * window.stride) // window.dilation))
    last = min(window.kernel - 1, t // window.dilation)
    return _solvable(t, -window.dilation, window.stride, first, last)


def _meets(start: int, step: int, count: int, e: int, n: int) -> bool:
    """Whether one of start, start + step, ... (count of them) is a real cell: 0, e, ... (n - 1) e.

    Serves a window's taps (step is the dilation) and a kernel cell's visits (the stride).
    """
    first = max(0, -(start // step))
    last = min(count - 1, ((n - 1) * e - start) // step)
    return _solvable(start, step, e, first, last)


def _solvable(offset: int, step: int, modulus: int, first: int, last: int) -> bool:
    """Whether offset + k step is divisible by modulus for some k in first..last."""
    common = gcd(step, modulus)
    if offset % common or first > last:
        return False
    modulus //= common
    k = -offset // common * pow(step // common, -1, modulus)
    return first + (k - first) % modulus <= last


def _count(holds: Callable[[int], bool], start: int, stop: int, period: int, margin: int) -> int:
    """How often it holds in start..stop, when it repeats with a period a margin from both ends."""
    whole = (stop - start - 2 * margin) // period
    if whole <= 1:
        return sum(map(holds, range(start, stop)))
    inner = start + margin
    return (
        sum(map(holds, range(start, inner)))
        + sum(map(holds, range(inner, inner + period))) * whole
        + sum(map(holds, range(inner + period * whole, stop)))
    )
