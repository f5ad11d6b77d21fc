"""Interpolation as windows where the factor is a whole number, else as spans of cells."""

from fractions import Fraction

from convscape.arithmetic.builder.checks import listable
from convscape.arithmetic.reach import Map, Spans
from convscape.arithmetic.window import Window


def resized(n: int, m: int, mode: str, half_pixel: bool, align_corners: bool) -> Map:
    """How m cells that are interpolated from n read them."""
    if not align_corners and m % n == 0:
        s = m // n
        if mode == "nearest":
            return Window(s, input_dilation=s, padding=(s - 1, s - 1))
        if mode == "linear":
            kernel, low = 2 * s - s % 2, (3 * s - 2) // 2
            return Window(kernel, input_dilation=s, padding=(low, s + kernel - 2 - low))
    if not align_corners and mode == "nearest" and n % m == 0:
        s = n // m
        first = s // 2 if half_pixel else 0
        return Window(1, stride=s, padding=(-first, 0))
    return _spans(n, m, mode, half_pixel, align_corners)


def _spans(n: int, m: int, mode: str, half_pixel: bool, align_corners: bool) -> Spans:
    spans = []
    listable(m)
    for o in range(m):
        if align_corners:
            at = Fraction(o * (n - 1), max(m - 1, 1))
        elif mode == "nearest":
            at = Fraction((2 * o + 1) * n, 2 * m) if half_pixel else Fraction(o * n, m)
        else:
            at = max(Fraction((2 * o + 1) * n - m, 2 * m), Fraction(0))
        cell = at.numerator // at.denominator
        before, after = (0, 1) if mode == "nearest" or at == cell else (0, 2)
        if mode == "cubic" and at != cell:
            before, after = 1, 3
        spans.append((max(cell - before, 0), min(cell + after, n)))
    return tuple(spans)
