"""The receptive field of one cell through a stack of layers, on one axis, tap by tap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.field import Field, back, bits
from convscape.arithmetic.window import Window
from convscape.figures.figure import DEFAULT_SECONDS, Figure
from convscape.figures.limits import places
from convscape.figures.scene import Hatch, Line, Rect, Scene, Shape, Text, shortened

MAX_INPUT = 64
"""Most input cells that a stack is drawn on, its padding included."""

MAX_LAYERS = 12
"""Most layers of a stack."""

MARGIN, TITLE, ROW, BOX = 18, 30, 66, 24
NAMES = 176
"""Width of the column of names on the left."""


@dataclass(frozen=True)
class Stack:
    """Layers on an input of n cells, and where their cells lie.

    A cell lies above the middle of what it reads, so its place is measured in input cells.

    Args:
        windows: The layers, the first one next to the input.
        n: Input cells.

    Raises:
        InputError: No layer, too many, an input that is too large to draw, or an empty map.
    """

    windows: tuple[Window, ...]
    n: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.windows) <= MAX_LAYERS:
            raise InputError(
                f"a stack has 1 to {MAX_LAYERS} layers",
                f"{len(self.windows)} layers",
                "draw a part of it",
            )
        if self.n < 1:
            raise InputError("the input must not be empty", f"n={self.n}", "give at least 1 cell")
        for layer, (window, n) in enumerate(zip(self.windows, self.sizes, strict=False), 1):
            if window.output(n) == 0:
                raise InputError(
                    "every layer must have an output",
                    f"layer {layer}: extent {window.extent} on {n} cells padded by "
                    f"{window.padding}",
                    "give a larger input",
                )
            span = places(window, n)
            if span.stop - span.start > MAX_INPUT or window.kernel > MAX_INPUT:
                raise InputError(
                    f"a stack is drawn on at most {MAX_INPUT} cells, padding included",
                    f"{span.stop - span.start} before layer {layer}, kernel {window.kernel}",
                    "draw a smaller input; the field repeats",
                )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Cells of the input and after each layer."""
        out = [self.n]
        for window in self.windows:
            out.append(window.output(out[-1]))
        return tuple(out)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The field of a cell of the input (itself) and after each layer."""
        return tuple(Field.of(*self.windows[:i]) for i in range(len(self.windows) + 1))

    def place(self, level: int, at: Fraction | int) -> Fraction:
        """Where a cell of a map lies, in input cells; fractions lie between cells."""
        field = self.fields[level]
        first = field.mean_centre()
        if first is None:  # some cells read nothing: the first that does is the measure
            first = next(
                (c - o * field.jump for o in range(field.period)
                 if (c := field.centre(o)) is not None),
                Fraction(0),
            )  # fmt: skip
        return first + at * field.jump

    def cone(self, o: int) -> tuple[int, ...]:
        """For every map, the set of its cells (as bits) that one cell of the last map reads."""
        masks = [1 << o]
        for window, n in zip(reversed(self.windows), reversed(self.sizes[:-1]), strict=True):
            masks.append(back(window, masks[-1], n))
        return tuple(reversed(masks))

    def spots(self, level: int) -> list[tuple[Fraction, str, int]]:
        """Everything drawn of a map: (place, kind, cell), with what the next layer adds to it.

        The kind is cell, gap (a zero of the spreading) or pad.
        """
        n = self.sizes[level]
        if level == len(self.windows):
            return [(self.place(level, o), "cell", o) for o in range(n)]
        window = self.windows[level]
        out = []
        for t in places(window, n):
            cell, gap = divmod(t, window.input_dilation)
            inside = 0 <= t <= (n - 1) * window.input_dilation
            kind = "pad" if not inside else "gap" if gap else "cell"
            out.append((self.place(level, Fraction(t, window.input_dilation)), kind, cell))
        return out


def field_figure(
    windows: Sequence[Window],
    n: int,
    cell: int | None = None,
    *,
    title: str = "Receptive field",
    theme: str = "auto",
    seconds: float = DEFAULT_SECONDS,
) -> Figure:
    """Draw which cells one cell of the last map reads, through every layer.

    Args:
        windows: The layers, the first one next to the input.
        n: Input cells.
        cell: Which cell of the last map the still shows; None is the middle one. The animation
            shows all.
        title: Heading.
        theme: light, dark or auto.
        seconds: How long a frame of the animation stays.

    Raises:
        InputError: What a `Stack` refuses, or no such cell.

    Example:
        >>> len(field_figure([Window(3), Window(3, stride=2)], 11).frames)
        4
    """
    stack = Stack(tuple(windows), n)
    last = stack.sizes[-1]
    at = (last - 1) // 2 if cell is None else cell
    if not 0 <= at < last:
        raise InputError(
            "the cell must lie on the last map", f"cell {at} of {last}", "count cells from 0"
        )
    frames = tuple(_frame(stack, o, title) for o in range(last))
    read = len(list(bits(stack.cone(at)[0])))
    said = (
        f"Cell {at} of the {last} cells after {len(windows)} layers reads {read} of {n} input "
        f"cells; its field spans {stack.fields[-1].size}."
    )
    return Figure(frames[at], title or "Receptive field", said, frames, theme, seconds)


def _frame(stack: Stack, o: int, title: str) -> Scene:
    levels = len(stack.windows)
    spots = [stack.spots(level) for level in range(levels + 1)]
    low = min(x for row in spots for x, _, _ in row)
    high = max(x for row in spots for x, _, _ in row)
    unit = max(10.0, min(36.0, 820 / float(high - low + 1)))
    top = MARGIN + (TITLE if title else 0)

    def x_of(place: Fraction) -> float:
        return round(MARGIN + NAMES + float(place - low + Fraction(1, 2)) * unit, 2)

    def y_of(level: int) -> float:
        return top + (levels - level) * ROW + BOX / 2

    width = round(MARGIN * 2 + NAMES + float(high - low + 1) * unit)
    shapes: list[Shape] = []
    if title:
        shapes.append(Text(MARGIN, MARGIN + 8, title, 16, anchor="start", bold=True))
    cone = stack.cone(o)
    ever = (1 << stack.sizes[-1]) - 1
    for window, n in zip(reversed(stack.windows), reversed(stack.sizes[:-1]), strict=True):
        ever = back(window, ever, n)
    for level, row in enumerate(spots):
        side = _side(stack, level, unit)
        for place, kind, cell in row:
            x, y = x_of(place) - side / 2, y_of(level) - BOX / 2
            inside = kind == "cell" and cone[level] >> cell & 1
            key = f"{kind} {level} {cell}" if kind == "cell" else ""
            fill = "window" if inside else "cell" if kind == "cell" else kind
            if inside and level == levels:
                fill = "now"
            shapes.append(Rect(x, y, side, BOX, fill, "line", dash=kind != "cell",
                               key=key + " read" * bool(inside), z=2))  # fmt: skip
            if level == 0 and kind == "cell" and not ever >> cell & 1:
                shapes.append(Hatch(x, y, side, BOX, key=f"unread {cell}", z=3))
        shapes += _names(stack, level, y_of(level))
    shapes += _links(stack, cone, x_of, y_of)
    bottom = y_of(0) + BOX / 2
    shapes += _span(stack, o, cone[0], x_of, bottom, unit)
    return Scene(width, round(bottom + 62), tuple(shapes))


def _side(stack: Stack, level: int, unit: float) -> float:
    """Width of a map's boxes: what the distance of its cells allows, at most one input cell."""
    spread = 1 if level == len(stack.windows) else stack.windows[level].input_dilation
    distance = float(stack.fields[level].jump) / spread * unit
    return round(max(3.0, min(unit, distance) * 0.86), 2)


def _names(stack: Stack, level: int, y: float) -> list[Shape]:
    field, cells = stack.fields[level], stack.sizes[level]
    count = f"{cells} cell" + ("s" if cells > 1 else "")
    if level == 0:
        return [Text(MARGIN, y - 8, "input", 13, anchor="start", bold=True),
                Text(MARGIN, y + 8, count, 12, "muted", "start")]  # fmt: skip
    first = f"{level}: {spelled(stack.windows[level - 1])}"
    second = f"{count}, field {field.size}, jump {field.jump}"
    return [
        Text(MARGIN, y - 8, shortened(first, 13, NAMES), 13, anchor="start", bold=True),
        Text(MARGIN, y + 8, second, 11.5, "muted", "start", key=f"field {level} {field.size}"),
    ]


def spelled(window: Window) -> str:
    """A window in letters: k3 s2 d2 p1.

    Example:
        >>> spelled(Window(3, stride=2, padding=(0, 1)))
        'k3 s2 p0,1'
    """
    low, high = window.padding
    if window.input_dilation > 1:
        edge = window.extent - 1
        low, high = edge - low, edge - high
        stride = window.input_dilation
        text = f"k{window.kernel} s{stride}"
    else:
        text = f"k{window.kernel}" + (f" s{window.stride}" if window.stride > 1 else "")
    text += f" d{window.dilation}" if window.dilation > 1 else ""
    pad = f"{low}" if low == high else f"{low},{high}"
    text += f" p{pad}" if (low, high) != (0, 0) else ""
    return text + (" transposed" if window.input_dilation > 1 else "")


Across = Callable[[Fraction], float]


def _links(
    stack: Stack, cone: Sequence[int], x_of: Across, y_of: Callable[[int], float]
) -> list[Shape]:
    """A line from every cell of the cone to each place that it reads; dashed where it is a zero."""
    out: list[Shape] = []
    for level in range(len(stack.windows), 0, -1):
        window, n = stack.windows[level - 1], stack.sizes[level - 1]
        for o in bits(cone[level]):
            x = x_of(stack.place(level, o))
            for k, cell in enumerate(window.taps(o, n)):
                t = window.start(o) + k * window.dilation
                to = x_of(stack.place(level - 1, Fraction(t, window.input_dilation)))
                ends = ((x, y_of(level) + BOX / 2), (to, y_of(level - 1) - BOX / 2))
                real = cell is not None
                out.append(Line(ends, "accent" if real else "line", 1.2, dash=not real, z=1))
    return out


def _span(stack: Stack, o: int, mask: int, x_of: Across, y: float, unit: float) -> list[Shape]:
    """The line below the input: from the first to the last cell that is read, and how many."""
    cells = list(bits(mask))
    where = f"cell {o} of the last map reads "
    if not cells:
        return [Text(MARGIN, y + 34, where + "padding alone", 13, anchor="start")]
    left, right = x_of(Fraction(cells[0])) - unit / 2, x_of(Fraction(cells[-1])) + unit / 2
    inner = f", {cells[-1] - cells[0] + 1 - len(cells)} of them skipped"
    holes = inner if len(cells) < cells[-1] - cells[0] + 1 else ""
    said = f"{where}input cells {cells[0]} to {cells[-1]}{holes}"
    full = stack.fields[-1].size
    cut = "" if full == cells[-1] - cells[0] + 1 else f" (the whole field, {full}, is cut here)"
    return [
        Line(((left, y + 8), (left, y + 14), (right, y + 14), (right, y + 8)), "accent", 1.5),
        Text(MARGIN, y + 36, said + cut, 13, anchor="start", key="reads"),
    ]
