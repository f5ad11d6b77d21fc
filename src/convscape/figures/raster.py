"""A scene as pixels (Pillow), and as PDF (Matplotlib's writer).

Both set text in DejaVu Sans, which Matplotlib brings along, so that a picture is the same on
every machine.
"""

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from itertools import pairwise
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscape.arithmetic.errors import InputError
from convscape.figures.scene import (
    BASELINE,
    Hatch,
    Line,
    Point,
    Rect,
    Scene,
    Text,
    head,
    strokes,
)
from convscape.figures.theme import palette

if TYPE_CHECKING:
    from PIL.Image import Image

SUPERSAMPLE = 2
"""Pixels drawn for each one kept, along each axis: smooth slanted lines and text."""

MAX_PIXELS = 60_000_000
"""Largest picture in pixels."""


def image(scene: Scene, theme: str = "light", scale: float = 2) -> "Image":
    """The scene in pixels.

    Args:
        scene: What to draw.
        theme: light or dark; auto is light.
        scale: Pixels for one unit of the scene.

    Raises:
        InputError: Pillow or Matplotlib is missing, or the picture would be too large.
    """
    pillow = _pillow()
    width, height = round(scene.width * scale), round(scene.height * scale)
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise InputError(
            f"a picture has at most {MAX_PIXELS:,} pixels",
            f"{width} x {height}",
            "use a smaller scale, or write SVG",
        )
    colours = palette(theme)
    factor = scale * SUPERSAMPLE
    size = (width * SUPERSAMPLE, height * SUPERSAMPLE)
    canvas: Image = pillow.Image.new("RGB", size, colours["bg"])
    pen = pillow.ImageDraw.Draw(canvas)
    for shape in scene.painted():
        _paint(pen, shape, factor, colours)
    return canvas.reduce(SUPERSAMPLE)


def png(scene: Scene, theme: str = "light", scale: float = 2) -> bytes:
    """The scene as a PNG file; see `image`."""
    buffer = BytesIO()
    image(scene, theme, scale).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pdf(scene: Scene, theme: str = "light") -> bytes:
    """The scene as a PDF page of the same size in points, its text as text.

    Raises:
        InputError: Matplotlib is missing.
    """
    matplotlib = _matplotlib()
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon, Rectangle

    colours = palette(theme)
    page = Figure(figsize=(scene.width / 72, scene.height / 72), facecolor=colours["bg"])
    FigureCanvasPdf(page)
    axes = page.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for order, shape in enumerate(scene.painted()):
        common: dict[str, Any] = {"zorder": order}
        match shape:
            case Rect():
                axes.add_patch(
                    Rectangle(
                        (shape.x, shape.y), shape.w, shape.h,
                        facecolor=colours[shape.fill] if shape.fill else "none",
                        edgecolor=colours[shape.stroke] if shape.stroke else "none",
                        linewidth=shape.width if shape.stroke else 0,
                        linestyle=(0, (3, 2)) if shape.dash else "-", **common,
                    )
                )  # fmt: skip
            case Text():
                axes.text(
                    shape.x, shape.y + BASELINE * shape.size, shape.text,
                    fontsize=shape.size, color=colours[shape.role], parse_math=False,
                    ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
                    va="baseline", fontweight="bold" if shape.bold else "normal",
                    fontfamily="DejaVu Sans", **common,
                )  # fmt: skip
            case Hatch():
                for one, other in strokes(shape):
                    axes.plot(*zip(one, other, strict=True), color=colours[shape.role],
                              linewidth=1, **common)  # fmt: skip
            case Line():
                xs, ys = zip(*shape.points, strict=True)
                axes.plot(xs, ys, color=colours[shape.role], linewidth=shape.width,
                          linestyle=(0, (4, 3)) if shape.dash else "-", **common)  # fmt: skip
                if shape.arrow:
                    axes.add_patch(Polygon(head(shape), color=colours[shape.role], **common))
    buffer = BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
        page.savefig(buffer, format="pdf", facecolor=page.get_facecolor(), metadata=nothing)
    return buffer.getvalue()


def _paint(pen: Any, shape: Any, f: float, colours: Mapping[str, str]) -> None:
    match shape:
        case Rect():
            box = (shape.x * f, shape.y * f, (shape.x + shape.w) * f, (shape.y + shape.h) * f)
            if shape.fill:
                pen.rectangle(box, fill=colours[shape.fill])
            if shape.stroke:
                x0, y0, x1, y1 = box
                corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
                _stroke(pen, corners, colours[shape.stroke], shape.width * f,
                        (3 * f, 2 * f) if shape.dash else None)  # fmt: skip
        case Text():
            font = _font(shape.bold, shape.size * f)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            at = (shape.x * f, (shape.y + BASELINE * shape.size) * f)
            pen.text(at, shape.text, colours[shape.role], font, anchor)
        case Hatch():
            for (ax, ay), (bx, by) in strokes(shape):
                ends = [(ax * f, ay * f), (bx * f, by * f)]
                pen.line(ends, colours[shape.role], max(1, round(f)))
        case Line():
            points = [(x * f, y * f) for x, y in shape.points]
            _stroke(pen, points, colours[shape.role], shape.width * f,
                    (4 * f, 3 * f) if shape.dash else None)  # fmt: skip
            if shape.arrow:
                pen.polygon([(x * f, y * f) for x, y in head(shape)], colours[shape.role])


def _stroke(
    pen: Any, points: list[Point], colour: str, width: float, dash: tuple[float, float] | None
) -> None:
    thick = max(1, round(width))
    if dash is None:
        pen.line(points, colour, thick, joint="curve")
        r = thick / 2 - 0.5  # square ends, so that corners close
        if thick > 2:
            for x, y in (points[0], points[-1]):
                pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
        return
    on, off = dash
    for (x0, y0), (x1, y1) in pairwise(points):
        length = hypot(x1 - x0, y1 - y0) or 1
        at = 0.0
        while at < length:
            end = min(at + on, length)
            ends = [(x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length) for t in (at, end)]
            pen.line(ends, colour, thick)
            at += on + off


@cache
def _font(bold: bool, size: float) -> Any:
    folder = Path(_matplotlib().get_data_path()) / "fonts" / "ttf"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    fonts = _pillow().ImageFont
    return fonts.truetype(str(folder / name), size, layout_engine=fonts.Layout.BASIC)


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise missing("Pillow") from None
    return PIL


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise missing("Matplotlib") from None
    return matplotlib


def missing(package: str) -> InputError:
    """The error for an output that needs a package of the extra `figures`."""
    return InputError(
        "PNG, PDF, GIF and MP4 need Pillow and Matplotlib",
        f"{package} is not installed",
        "pip install 'convscape[figures]', or write .svg, which needs neither",
    )
