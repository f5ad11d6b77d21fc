"""Winograd's transforms along one axis: F(4, 3), and F(4, 4) for kernels cut into pieces of four.

    y = A^T [ (G g) ⊙ (B^T d) ]                        four outputs in a row

F(4, 4) takes three pairs of points of both signs, which share their sums, and infinity: of seven
cells seven products make what sixteen do. The points ±5/16, ±7/8, ±7/4 lie near the best of a grid
that was searched, where float32 holds their squares: with sums of 64 products the error over the
output's RMS is 0.5e-6 in the mean and 3e-6 at the worst of 72 000, where ±1/2, ±1, ±2 give 0.6e-6
and 5e-6. F(4, 3) is one axis of `convscape.kernels.cpu.winograd_points`.

Source: S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980; choice of points as in
B. Barabasz et al., arXiv 1803.10986.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from convscape.kernels.cpu.vector import elementwise
from convscape.kernels.cpu.winograd_points import input_line, kernel3_line, output4_line

_POINTS = (5 / 16, 7 / 8, 7 / 4)
_SQUARES = tuple(point * point for point in _POINTS)


def _others(point: float) -> tuple[float, float]:
    """Of the squares of the other two pairs the sum and the product."""
    one, two = (square for square in _SQUARES if square != point * point)
    return one + two, one * two


def input7_line(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any, d6: Any) -> Iterator[Any]:
    """B^T d: seven input cells to seven points."""
    for point in _POINTS:
        # The other pairs' polynomial, x^4 - middle x^2 + last, on even and on odd cells.
        middle, last = _others(point)
        even, odd = d0 * last - d2 * middle + d4, d1 * last - d3 * middle + d5
        yield odd + even * point
        yield odd - even * point
    a, b, c = _SQUARES
    yield d6 - d4 * (a + b + c) + d2 * (a * b + a * c + b * c) - d0 * (a * b * c)


def kernel4_line(g0: Any, g1: Any, g2: Any, g3: Any) -> Iterator[Any]:
    """G g: four kernel cells to seven points."""
    for point in _POINTS:
        square, (middle, last) = point * point, _others(point)
        norm = 2 * point * (square * square - middle * square + last)
        even, odd = (g0 + g2 * square) * (1 / norm), (g1 + g3 * square) * (point / norm)
        yield odd + even
        yield odd - even
    yield g3


def output7_line(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any, m6: Any) -> Iterator[Any]:
    """A^T m: seven points to four output cells."""
    (a, b, c), (p, q, r) = _POINTS, _SQUARES
    s, t, u = m0 + m1, m2 + m3, m4 + m5
    d, e, f = (m0 - m1) * a, (m2 - m3) * b, (m4 - m5) * c
    yield s + t + u
    yield d + e + f
    yield s * p + t * q + u * r
    yield d * p + e * q + f * r + m6


def _of(line: Callable[..., Any], size: int) -> Callable[[Sequence[Any]], Any]:
    """A line transform of so many values."""
    return lambda values: line(*(values[i] for i in range(size)))


def _finished(line: Callable[..., Any], size: int, relu: bool) -> Callable[[Sequence[Any]], Any]:
    """An output transform and a bias, and a ReLU when asked for."""

    def transform(values: Sequence[Any]) -> Iterator[Any]:
        bias = values[size]
        for value in _of(line, size)(values):
            total = value + bias
            yield total.positive() if relu else total

    return transform


input6_cells = elementwise(_of(input_line, 6), 6, 6)
input7_cells = elementwise(_of(input7_line, 7), 7, 7)
kernel3_cells = elementwise(_of(kernel3_line, 3), 3, 6)
kernel4_cells = elementwise(_of(kernel4_line, 4), 4, 7)
output6_cells = elementwise(_finished(output4_line, 6, relu=False), 6, 4, extra=True)
output7_cells = elementwise(_finished(output7_line, 7, relu=False), 7, 4, extra=True)
output6_relu_cells = elementwise(_finished(output4_line, 6, relu=True), 6, 4, extra=True)
output7_relu_cells = elementwise(_finished(output7_line, 7, relu=True), 7, 4, extra=True)
