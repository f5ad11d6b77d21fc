"""The front door: a window, geometry, layer or network becomes a `Figure`."""

from collections.abc import Sequence
from typing import Literal

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.window import Window
from convscape.figures import convolution, scatter
from convscape.figures.figure import DEFAULT_SECONDS, Figure
from convscape.figures.grid import Look, style_named
from convscape.figures.numbers import Maps, written
from convscape.figures.problem import walk_of
from convscape.figures.scene import Scene, text_width
from convscape.figures.walk import Walk

MAX_FRAMES = 600
"""Most windows that an animation shows."""

MAX_TILES = 12
"""Most windows that a sheet shows; of more, a choice from the first to the last."""

As = Literal["spread", "scatter"]

_NAMES = {
    "conv": "Convolution",
    "transposed": "Transposed convolution",
    "max_pool": "Max pooling",
    "avg_pool": "Average pooling",
}


def draw(
    what: Window | Geometry | Layer,
    size: int | Sequence[int] | None = None,
    *,
    operation: str | None = None,
    transposed: str = "spread",
    style: str = "numbers",
    values: str | Maps = "deck",
    weights: str | tuple[Maps, ...] | Maps = "deck",
    seed: int = 0,
    step: int | None = None,
    sheet: bool = False,
    title: str | None = None,
    theme: str = "auto",
    seconds: float = DEFAULT_SECONDS,
    animate: bool = True,
) -> Figure:
    """Draw a convolution, pooling, transposed convolution or dilation window by window.

    Args:
        what: A window (slides along both axes), a geometry, or a layer in some dialect.
        size: Input cells: one number for all axes, or one an axis; None takes the smallest input
            with three windows an axis.
        operation: conv, transposed, max_pool or avg_pool; None is what `what` says.
        transposed: How a transposed convolution is drawn: spread (a convolution over the input
            with zeros between its cells) or scatter (each input cell adds its multiple of the
            kernel).
        style: numbers, colours (each weight paints the cells it meets) or plain.
        values: The input's numbers: deck, random, or e.g. "1,2;3,4".
        weights: The kernel's numbers likewise.
        seed: Of the random numbers.
        step: Which window the still shows, from 0; None shows the one in the middle, and the
            whole output.
        sheet: Show up to 12 windows on one page instead.
        title: Heading; None makes one, "" has none.
        theme: light, dark or auto.
        seconds: How long a frame of the animation stays.
        animate: Draw the frames of the animation too.

    Raises:
        InputError: An input too large to draw, numbers that do not fit, or an unknown name.

    Example:
        >>> figure = draw(Window(3), 5)
        >>> len(figure.frames)
        9
    """
    look = Look(style_named(style))
    if transposed not in ("spread", "scatter"):
        raise InputError(
            "a transposed convolution is drawn in a known way", repr(transposed),
            "known: spread, scatter",
        )  # fmt: skip
    walk = walk_of(what, size, operation_name=operation, values=values, weights=weights, seed=seed)
    as_scatter = walk.operation == "transposed" and transposed == "scatter"
    heading = _title(walk, as_scatter) if title is None else title
    if as_scatter:
        if sheet:
            raise InputError("a sheet shows windows", "scatter", "use spread, or animate it")
        scene, frames = _scattered(walk, look, heading, step, animate)
    else:
        scene, frames = _windows(walk, look, heading, step, sheet, animate)
    return Figure(
        scene, heading or _title(walk, as_scatter), describe(walk), frames, theme, seconds
    )


def _windows(
    walk: Walk, look: Look, title: str, step: int | None, sheet: bool, animate: bool
) -> tuple[Scene, tuple[Scene, ...]]:
    look = Look(
        look.style, fitting_cell(walk, look.style), 1 if walk.operation == "avg_pool" else None
    )
    layout = convolution.Layout(walk, look, title)
    lines = convolution.lines_needed(layout)
    if sheet:
        small = Look(look.style, 30 if look.style == "numbers" else 16, look.digits)
        tile = convolution.Layout(walk, small, title, least=0, tile=True)
        scene = convolution.sheet(tile, chosen(walk.count))
    elif step is None:
        scene = convolution.frame(layout, walk.count // 2, lines, complete=True)
    else:
        scene = convolution.frame(layout, step, lines)
    frames: tuple[Scene, ...] = ()
    if animate and walk.count <= MAX_FRAMES:
        frames = tuple(convolution.frame(layout, i, lines) for i in range(walk.count))
    return scene, frames


def _scattered(
    walk: Walk, look: Look, title: str, step: int | None, animate: bool
) -> tuple[Scene, tuple[Scene, ...]]:
    layout = scatter.Layout(walk, Look(look.style, fitting_cell(walk, look.style)), title)
    count = len(layout.steps)
    at = count - 1 if step is None else step
    if not 0 <= at < count:
        raise InputError("the step must be an input cell", f"{at} of {count}", "count from 0")
    frames: tuple[Scene, ...] = ()
    if animate and count <= MAX_FRAMES:
        frames = tuple(scatter.frame(layout, i) for i in range(count))
    return scatter.frame(layout, at), frames


def chosen(count: int, most: int = MAX_TILES) -> list[int]:
    """Which of so many windows a sheet shows: all, or evenly from the first to the last.

    Example:
        >>> chosen(30, 4)
        [0, 10, 19, 29]
    """
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def fitting_cell(walk: Walk, style: str) -> float:
    """The side of a cell: 36; more for long numbers, less where the picture would be too large."""
    wanted = 36.0
    if style == "numbers":
        into = max((written(v) for m in walk.x for row in m for v in row), key=len)
        out = max((written(v) for m in walk.results for row in m for v in row), key=len)
        wanted = max(wanted, text_width(into, 10) / 0.62, text_width(out, 10) + 6)
    (rows, columns), (high, wide) = walk.outputs, (len(walk.places(0)), len(walk.places(1)))
    across = wide + columns + walk.windows[1].kernel
    down = max(high * len(walk.x), rows * walk.out_channels)
    return max(20, min(round(wanted), 1800 // across, 1800 // down))


def describe(walk: Walk) -> str:
    """What the picture shows, in a sentence, for readers that cannot see it."""
    (height, width), (rows, columns) = walk.spatial, walk.outputs
    kh, kw = (w.kernel for w in walk.windows)
    into, out = (f"{width}", f"{columns}") if walk.rank == 1 else (
        f"{height} by {width}", f"{rows} by {columns}"
    )  # fmt: skip
    dead = len(walk.unread)
    return (
        f"{_NAMES[walk.operation]} of an input of {into} cells with a window of "
        f"{kw if walk.rank == 1 else f'{kh} by {kw}'} to an output of {out} cells"
        + (f"; no window reads {dead} input cells" if dead else "")
        + "."
    )


def _title(walk: Walk, as_scatter: bool) -> str:
    name = _NAMES[walk.operation]
    if walk.operation == "transposed":
        return f"{name}, {'as scattering' if as_scatter else 'as windows over the spread input'}"
    if any(w.dilation > 1 for w in walk.windows):
        name += f", dilation {'×'.join(str(w.dilation) for w in walk.windows[-walk.rank :])}"
    return name
