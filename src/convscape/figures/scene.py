"""A drawing before it has a format: rectangles, lines, hatching and text, in roles of a theme.

Every output (SVG, PNG, PDF, animations) draws the same scene, so they cannot differ in what they
say. Units are CSS pixels; y grows downwards. A role is the name of a colour in `theme.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import hypot
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

BASELINE = 0.36
"""Half the height of a digit in font sizes: a text's baseline lies this far below its middle."""

_WIDE, _NARROW = frozenset("mwMWQ%@—…∞→≈"), frozenset("il.,:;|'!()[]fjt ·")


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle; without a fill or a stroke role that part is not painted.

    Args:
        x: Left.
        y: Top.
        w: Width.
        h: Height.
        fill: Role of the inside, or None.
        stroke: Role of the outline, or None.
        width: Width of the outline.
        dash: Whether the outline is dashed.
        key: What it stands for, e.g. "x 0 1 2"; kept in SVG as data-k.
        z: Layer; higher ones lie on top.
    """

    x: float
    y: float
    w: float
    h: float
    fill: str | None = None
    stroke: str | None = None
    width: float = 1
    dash: bool = False
    key: str = ""
    z: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text.

    Args:
        x: Where the anchor lies.
        y: Middle of the line of digits.
        text: What it says.
        size: Font size.
        role: Its colour.
        anchor: Which end of the text x means.
        bold: Heavier.
        key: What it stands for; kept in SVG as data-k.
        z: Layer.
    """

    x: float
    y: float
    text: str
    size: float = 13
    role: str = "ink"
    anchor: Anchor = "middle"
    bold: bool = False
    key: str = ""
    z: int = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, with an arrow head at its end if asked."""

    points: tuple[Point, ...]
    role: str = "line"
    width: float = 1
    dash: bool = False
    arrow: bool = False
    z: int = 2


@dataclass(frozen=True, slots=True)
class Hatch:
    """Diagonal strokes across a rectangle: a cell that no window reads."""

    x: float
    y: float
    w: float
    h: float
    role: str = "hatch"
    key: str = ""
    z: int = 2


Shape = Rect | Text | Line | Hatch


@dataclass(frozen=True, slots=True)
class Scene:
    """Shapes on a page of a size; painted in the order of their layers.

    Args:
        width: Width of the page.
        height: Height of the page.
        shapes: What is on it.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...]

    def painted(self) -> list[Shape]:
        """The shapes in the order of painting: by layer, then as they were added."""
        return sorted(self.shapes, key=lambda shape: shape.z)


def moved(shapes: Iterable[Shape], dx: float, dy: float) -> list[Shape]:
    """The same shapes somewhere else.

    Example:
        >>> moved([Rect(0, 0, 2, 2)], 5, 1)[0].x
        5
    """
    out: list[Shape] = []
    for shape in shapes:
        if isinstance(shape, Line):
            out.append(replace(shape, points=tuple((x + dx, y + dy) for x, y in shape.points)))
        else:
            out.append(replace(shape, x=shape.x + dx, y=shape.y + dy))
    return out


def unkeyed(shape: Shape) -> Shape:
    """The same shape, standing for nothing: where a page repeats a picture."""
    return shape if isinstance(shape, Line) else replace(shape, key="")


def text_width(text: str, size: float) -> float:
    """How wide a text may be: an upper estimate for common sans-serif fonts, without any font.

    Example:
        >>> text_width("12", 10)
        12.8
    """
    ems = sum(0.95 if c in _WIDE else 0.4 if c in _NARROW else 0.64 for c in text)
    return round(ems * size, 2)


def fitted(text: str, size: float, width: float) -> float:
    """The font size, at most `size`, at which the text fits a width."""
    needed = text_width(text, size)
    return size if needed <= width else round(size * width / needed, 1)


def shortened(text: str, size: float, width: float) -> str:
    """The text, or its beginning and an ellipsis where it is wider than it may be.

    Example:
        >>> shortened("convolution", 10, 40)
        'conv…'
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def strokes(hatch: Hatch, gap: float = 7) -> list[tuple[Point, Point]]:
    """The diagonal strokes of a hatched rectangle, from its lower left to its upper right."""
    out: list[tuple[Point, Point]] = []
    x, y, w, h = hatch.x, hatch.y, hatch.w, hatch.h
    offset = gap
    while offset < w + h:
        start = (x + max(0, offset - h), y + min(offset, h))
        end = (x + min(offset, w), y + max(0, offset - w))
        out.append((start, end))
        offset += gap
    return out


def head(line: Line) -> tuple[Point, Point, Point]:
    """The triangle of a line's arrow head."""
    (x0, y0), (x1, y1) = line.points[-2:]
    length = hypot(x1 - x0, y1 - y0) or 1
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    long, wide = 7 + line.width, 3 + line.width / 2
    bx, by = x1 - ux * long, y1 - uy * long
    return (x1, y1), (bx - uy * wide, by + ux * wide), (bx + uy * wide, by - ux * wide)
