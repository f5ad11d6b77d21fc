"""Which form of Winograd's transforms a convolution takes, and how; nothing here is compiled."""

from math import prod
from typing import NamedTuple

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import caches

FEW = 200
"""Tiles of an input that do not pay for writing and reading all the kernels' points."""

LEAST = 48
"""Tiles of a chunk: with fewer, reading the kernels' points takes longer."""

NEAR = 448 << 10
"""Bytes of a chunk's points and its products' that stay near."""


class Form(NamedTuple):
    """A form of the transforms, as `convscape.kernels.cpu.winograd_points` gives them.

    Args:
        number: What compiled code knows it by.
        edge: Of an output tile.
        points: Of a tile and of a kernel, and so the products of a tile.
        inner: What tiles leave out of the padding on each side, which they know to be zero.
    """

    number: int
    edge: int
    points: int
    inner: int = 0

    def tiles(self, images: int, grid: tuple[int, ...]) -> int:
        """Tiles of so many outputs of this size."""
        return images * prod(-(-m // self.edge) for m in grid)

    def makes_all_points(self, tiles: int, channels: tuple[int, int], itemsize: int) -> bool:
        """Whether all kernels' points are made once, for so many tiles; else block by block."""
        return tiles > FEW and self.points * itemsize * prod(channels) <= caches.share_for_points()


WHOLE_MAP = Form(1, 2, 9, 1)
"""A 3x3 kernel over maps of 2x2 cells with a cell of padding all around."""

FEW_POINTS = Form(3, 2, 16)
"""A 3x3 kernel over maps that these tiles fill as well, or over so few tiles that transforming the
kernels takes longer than their products."""

_SQUARE = {3: Form(4, 4, 36), 5: Form(2, 2, 36)}
_LIGHTER = 150  # products of a pair of channels that 36 points of its kernel cost more than 16


def form_of(geometry: Geometry, images: int, read: tuple[int, ...], made: tuple[int, ...]) -> Form:
    """The form for dense kernels of 3x3 or 5x5 cells at stride 1.

    Args:
        geometry: The windows.
        images: Of the batch.
        read: Height and width of a map that tiles are read from.
        made: Height and width of a map that tiles make.

    Example:
        >>> from convscape import Geometry
        >>> def points(size, images=1):
        ...     return form_of(Geometry.of(size, 3, 1, 1), images, size, size).points
        >>> points((2, 2)), points((7, 7)), points((7, 7), 4), points((14, 14))
        (9, 16, 36, 36)
    """
    square = _SQUARE[geometry.kernel[0]]
    if geometry.kernel != (3, 3):
        return square
    if all(w.padding == (1, 1) for w in geometry.windows) and tuple(read) == (2, 2):
        return WHOLE_MAP
    fewer, more = (form.points * form.tiles(images, made) for form in (FEW_POINTS, square))
    return FEW_POINTS if fewer < more + _LIGHTER else square


PIECE = 4
"""Cells of a piece of a kernel that lies along one axis, unless it has three."""

EDGE = 4
"""Outputs of a tile along one axis."""

_SUM = 64  # products of a piece of a sum: longer ones lose digits


def axis_form(taps: int) -> tuple[int, int, int]:
    """How a kernel of so many cells along one axis is taken (`winograd_axis`).

    Returns:
        The points of a tile, the pieces of a kernel, and input channels of one piece of a sum.

    Example:
        >>> axis_form(3), axis_form(7)
        ((6, 1, 64), (7, 2, 32))
    """
    pieces = 1 if taps == 3 else (taps + PIECE - 1) // PIECE
    return 6 if taps == 3 else 7, pieces, max(1, _SUM // pieces)


def axis_of(geometry: Geometry) -> int:
    """The axis along which kernels of one line lie."""
    return 0 if geometry.kernel[1] == 1 else 1


def axis_tiles(geometry: Geometry, shape: tuple[int, ...]) -> tuple[int, int]:
    """Lines of all images, and tiles of a line, for an input of this shape."""
    axis = axis_of(geometry)
    outputs = geometry.outputs(shape[2:])
    return shape[0] * outputs[1 - axis], -(-outputs[axis] // EDGE)
