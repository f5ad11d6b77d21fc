"""Winograd's transforms, written once for any kind of number: F(4x4, 3x3), F(2x2, 5x5), smaller.

    y = A^T [ (G g G^T) ⊙ (B^T d B) ] A                 a 4x4 or 2x2 tile of the output
    dg = G^T [ Σ_tiles (A dy A^T) ⊙ (B^T d B) ] G       the weight gradient, exactly adjoint

d is a 6x6 tile of the input, g the kernel. Both forms use the same six points, and B depends on
nothing else; a row of G and a column of A^T hold the powers of a point, as many as the kernel and
the output have cells. A line transform below is one of these matrices applied to one axis, with the
sums that its rows share taken once. On floats it is the formula, on symbols its proof, on `Lanes`
the code that runs.

The points 0, ±√½, ±√2 and infinity keep the transforms' numbers near 1: the error over the output's
RMS is about 1e-6 in the mean and 1e-5 at the worst of a million outputs, where the points 0, ±1, ±2
give 3e-6 and 4e-5.

Tiles of 4x4 cells, F(2x2, 3x3), have the points 0, ±1 and infinity; their largest error is a fifth
of that: 2e-6. One more form takes whole maps of 2x2 cells under a 3x3 kernel with a cell of
padding. Along an axis three products do:

    y0 = g1 d0 + g2 d1 = g1 (d0 + d1) + (g2 - g1) d1
    y1 = g0 d0 + g1 d1 = g1 (d0 + d1) + (g0 - g1) d0

so 9 make a map, where the kernel's cells that meet no padding take 16 and a tile of 6x6 takes 36.
Its transforms only add, so that it is nearly as exact as the plain sum.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
arXiv 1509.09308; choice of points: B. Barabasz et al., "Error Analysis and Improving the Accuracy
of Winograd Convolution for Deep Neural Networks", arXiv 1803.10986; these are the ones ncnn uses.
"""

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Any

from convscape.kernels.cpu.turned import from_rows, from_vectors, to_rows
from convscape.kernels.cpu.vector import elementwise

ROOT = sqrt(2)

Line = Callable[..., tuple[Any, ...]]


def input_line(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any, root: Any = ROOT) -> Any:
    """B^T d: six input cells to six points."""
    even, odd = d4 - d2 * 2, d3 * (root / 2) - d1 * root
    near, far = d4 - d2 * 0.5, d3 * root - d1 * (root / 2)
    return d0 - d2 * 2.5 + d4, even + odd, even - odd, near + far, near - far, d1 - d3 * 2.5 + d5


def kernel3_line(g0: Any, g1: Any, g2: Any, root: Any = ROOT) -> Any:
    """G g: three kernel cells to six points."""
    third = 1 / (root * root + 1)
    near, slope = (g0 * 2 + g2) * -third, g1 * (root * third)
    far, steep = (g0 * 0.5 + g2) * third, g1 * (root * third / 2)
    return g0, near - slope, near + slope, far + steep, far - steep, g2


def kernel5_line(g0: Any, g1: Any, g2: Any, g3: Any, g4: Any, root: Any = ROOT) -> Any:
    """G g: five kernel cells to six points."""
    third = 1 / (root * root + 1)
    near, slope = (g0 * 2 + g2 + g4 * 0.5) * -third, (g1 + g3 * 0.5) * (root * third)
    far, steep = (g0 * 0.5 + g2 + g4 * 2) * third, (g1 * 0.5 + g3) * (root * third)
    return g0, near - slope, near + slope, far + steep, far - steep, g4


def output4_line(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any, root: Any = ROOT) -> Any:
    """A^T m: six points to four output cells."""
    s, d, t, e = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + s + t,
        d * (root / 2) + e * root,
        s * 0.5 + t * 2,
        d * (root / 4) + e * (root * 2) + m5,
    )


def output2_line(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any, root: Any = ROOT) -> Any:
    """A^T m: six points to two output cells."""
    return m0 + (m1 + m2) + (m3 + m4), (m1 - m2) * (root / 2) + (m3 - m4) * root + m5


def output4_adjoint_line(y0: Any, y1: Any, y2: Any, y3: Any, root: Any = ROOT) -> Any:
    """A y: the transpose of `output4_line`, four cells to six points."""
    near, odd = y0 + y2 * 0.5, y1 * (root / 2) + y3 * (root / 4)
    far, steep = y0 + y2 * 2, y1 * root + y3 * (root * 2)
    return y0, near + odd, near - odd, far + steep, far - steep, y3


def output2_adjoint_line(y0: Any, y1: Any, root: Any = ROOT) -> Any:
    """A y: the transpose of `output2_line`, two cells to six points."""
    odd, steep = y1 * (root / 2), y1 * root
    return y0, y0 + odd, y0 - odd, y0 + steep, y0 - steep, y1


def kernel3_adjoint_line(
    u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any, root: Any = ROOT
) -> Any:
    """G^T u: the transpose of `kernel3_line`, six points to three kernel cells."""
    third = 1 / (root * root + 1)
    s, d, t, e = u1 + u2, u1 - u2, u3 + u4, u3 - u4
    return (
        u0 + (t * 0.5 - s * 2) * third,
        (e * (root / 2) - d * root) * third,
        (t - s) * third + u5,
    )


def kernel5_adjoint_line(
    u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any, root: Any = ROOT
) -> Any:
    """G^T u: the transpose of `kernel5_line`, six points to five kernel cells."""
    third = 1 / (root * root + 1)
    s, d, t, e = u1 + u2, u1 - u2, u3 + u4, u3 - u4
    return (
        u0 + (t * 0.5 - s * 2) * third,
        (e * 0.5 - d) * (root * third),
        (t - s) * third,
        (e - d * 0.5) * (root * third),
        (t * 2 - s * 0.5) * third + u5,
    )


def input_map_line(d0: Any, d1: Any) -> Any:
    """B^T d: a map's two cells to three points."""
    return d0 + d1, d1, d0


def kernel_map_line(g0: Any, g1: Any, g2: Any) -> Any:
    """G g: three kernel cells to three points."""
    return g1, g2 - g1, g0 - g1


def output_map_line(m0: Any, m1: Any, m2: Any) -> Any:
    """A^T m: three points to a map's two cells."""
    return m0 + m1, m0 + m2


def output_map_adjoint_line(y0: Any, y1: Any) -> Any:
    """A y: the transpose of `output_map_line`."""
    return y0 + y1, y0, y1


def kernel_map_adjoint_line(u0: Any, u1: Any, u2: Any) -> Any:
    """G^T u: the transpose of `kernel_map_line`."""
    return u2, u0 - u1 - u2, u1


def input4_line(d0: Any, d1: Any, d2: Any, d3: Any) -> Any:
    """B^T d: four input cells to the points 0, ±1 and infinity."""
    return d0 - d2, d1 + d2, d2 - d1, d3 - d1


def kernel3_few_line(g0: Any, g1: Any, g2: Any) -> Any:
    """G g: three kernel cells to four points."""
    even, odd = (g0 + g2) * 0.5, g1 * 0.5
    return g0, even + odd, even - odd, g2


def output2_few_line(m0: Any, m1: Any, m2: Any, m3: Any) -> Any:
    """A^T m: four points to two output cells."""
    return m0 + (m1 + m2), (m1 - m2) + m3


def output2_few_adjoint_line(y0: Any, y1: Any) -> Any:
    """A y: the transpose of `output2_few_line`."""
    return y0, y0 + y1, y0 - y1, y1


def kernel3_few_adjoint_line(u0: Any, u1: Any, u2: Any, u3: Any) -> Any:
    """G^T u: the transpose of `kernel3_few_line`."""
    even = (u1 + u2) * 0.5
    return u0 + even, (u1 - u2) * 0.5, even + u3


TOGETHER = ((0, 1, 2, 3, 4, 5),)
"""Rows of a result in one group."""

APART = ((0,), (1, 2, 3, 4), (5,))
"""Rows of a 6x6 result in groups: those of the finite roots share their sums."""


def both_axes(
    line: Line, size: int, groups: tuple[tuple[int, ...], ...] = TOGETHER
) -> Callable[[Sequence[Any]], Iterator[Any]]:
    """A line transform applied to the columns, then the rows, of a size x size tile.

    A group's columns are transformed when its rows are about to be, so that few values are alive
    at once: they fit the registers, where 36 do not. What a group does not use is not computed.
    """

    def transform(values: Sequence[Any]) -> Iterator[Any]:
        for group in groups:
            columns = [line(*(values[i * size + j] for i in range(size))) for j in range(size)]
            for i in group[: len(columns[0])]:
                yield from line(*(column[i] for column in columns))

    return transform


def _finished(line: Line, relu: bool, size: int = 6) -> Callable[[Sequence[Any]], Iterator[Any]]:
    """An output transform of size^2 points and a bias, and a ReLU when asked for."""

    def transform(values: Sequence[Any]) -> Iterator[Any]:
        bias = values[size * size]
        for value in both_axes(line, size)(values):
            total = value + bias
            yield total.positive() if relu else total

    return transform


def _reversed(
    line: Line, size: int, groups: tuple[tuple[int, ...], ...] = APART
) -> Callable[[Sequence[Any]], Iterator[Any]]:
    """The transform of the kernel whose cells come in reverse order."""
    return lambda values: both_axes(line, size, groups)(values[::-1])


input_tile = elementwise(both_axes(input_line, 6, APART), 36, 36)
kernel3_vectors = from_vectors(both_axes(kernel3_line, 3, APART), 9)
kernel5_vectors = from_vectors(both_axes(kernel5_line, 5, APART), 25)
kernel3_rows = from_rows(both_axes(kernel3_line, 3, APART), 9)
kernel5_rows = from_rows(both_axes(kernel5_line, 5, APART), 25)
kernel3_reversed_rows = from_rows(_reversed(kernel3_line, 3), 9)
kernel5_reversed_rows = from_rows(_reversed(kernel5_line, 5), 25)
output4_tile = elementwise(_finished(output4_line, relu=False), 36, 16, extra=True)
output2_tile = elementwise(_finished(output2_line, relu=False), 36, 4, extra=True)
output4_relu_tile = elementwise(_finished(output4_line, relu=True), 36, 16, extra=True)
output2_relu_tile = elementwise(_finished(output2_line, relu=True), 36, 4, extra=True)
output4_adjoint_tile = elementwise(both_axes(output4_adjoint_line, 4, APART), 16, 36)
output2_adjoint_tile = elementwise(both_axes(output2_adjoint_line, 2, APART), 4, 36)
kernel3_adjoint_vectors = from_vectors(both_axes(kernel3_adjoint_line, 6), 36)
kernel5_adjoint_vectors = from_vectors(both_axes(kernel5_adjoint_line, 6), 36)
kernel3_adjoint_rows = to_rows(both_axes(kernel3_adjoint_line, 6), 36)
kernel5_adjoint_rows = to_rows(both_axes(kernel5_adjoint_line, 6), 36)
input_map_tile = elementwise(both_axes(input_map_line, 2), 4, 9)
kernel_map_vectors = from_vectors(both_axes(kernel_map_line, 3), 9)
kernel_map_rows = from_rows(both_axes(kernel_map_line, 3), 9)
kernel_map_reversed_rows = from_rows(_reversed(kernel_map_line, 3, TOGETHER), 9)
output_map_tile = elementwise(_finished(output_map_line, False, 3), 9, 4, extra=True)
output_map_relu_tile = elementwise(_finished(output_map_line, True, 3), 9, 4, extra=True)
output_map_adjoint_tile = elementwise(both_axes(output_map_adjoint_line, 2), 4, 9)
kernel_map_adjoint_vectors = from_vectors(both_axes(kernel_map_adjoint_line, 3), 9)
kernel_map_adjoint_rows = to_rows(both_axes(kernel_map_adjoint_line, 3), 9)
input_few_tile = elementwise(both_axes(input4_line, 4), 16, 16)
kernel3_few_vectors = from_vectors(both_axes(kernel3_few_line, 3), 9)
kernel3_few_rows = from_rows(both_axes(kernel3_few_line, 3), 9)
kernel3_few_reversed_rows = from_rows(_reversed(kernel3_few_line, 3, TOGETHER), 9)
output2_few_tile = elementwise(_finished(output2_few_line, False, 4), 16, 4, extra=True)
output2_few_relu_tile = elementwise(_finished(output2_few_line, True, 4), 16, 4, extra=True)
output2_few_adjoint_tile = elementwise(both_axes(output2_few_adjoint_line, 2), 4, 16)
kernel3_few_adjoint_vectors = from_vectors(both_axes(kernel3_few_adjoint_line, 4), 16)
kernel3_few_adjoint_rows = to_rows(both_axes(kernel3_few_adjoint_line, 4), 16)
