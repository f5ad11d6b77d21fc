"""Maps of cells: an input with its padding, a kernel, an output that fills up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from convscape.arithmetic.errors import InputError
from convscape.figures.numbers import Number, written
from convscape.figures.scene import Hatch, Rect, Shape, Text, fitted
from convscape.figures.steps import Pair, Step, Tap
from convscape.figures.theme import WEIGHTS
from convscape.figures.walk import Walk

Style = Literal["numbers", "colours", "plain"]
STYLES: tuple[Style, ...] = get_args(Style)

CELL, WINDOW, NOW, OUTLINE, WRITING = range(5)
"""Layers: cells, what a window paints or fills, the current cell, outlines and hatching, text.

Shapes that lie on each other are on different layers: animations keep the order of layers only.
"""


@dataclass(frozen=True, slots=True)
class Look:
    """How maps are drawn.

    Args:
        style: numbers, colours (each weight paints what it meets) or plain.
        cell: Side of a cell.
        digits: Decimals of the output's numbers; None is as many as needed, up to two.
    """

    style: Style = "numbers"
    cell: float = 36
    digits: int | None = None

    @property
    def value_size(self) -> float:
        """Font size of a cell's number."""
        return min(15, round(self.cell * 0.4, 1))

    @property
    def sub_size(self) -> float:
        """Font size of the kernel's number on a cell."""
        return min(11, max(8, round(self.cell * 0.29, 1)))


def style_named(name: str) -> Style:
    """The style of this name.

    Raises:
        InputError: There is no such style.
    """
    for style in STYLES:
        if style == name:
            return style
    raise InputError("the style must be a known one", repr(name), f"known: {', '.join(STYLES)}")


def input_size(walk: Walk, cell: float) -> tuple[float, float]:
    """Width and height of one input map with its padding."""
    return len(walk.places(1)) * cell, len(walk.places(0)) * cell


def output_size(walk: Walk, cell: float) -> tuple[float, float]:
    """Width and height of one output map."""
    rows, columns = walk.outputs
    return columns * cell, rows * cell


def input_map(walk: Walk, channel: int, look: Look, x0: float, y0: float) -> list[Shape]:
    """One channel of the input: real cells, spread zeros, padding; unread cells hatched."""
    out: list[Shape] = []
    rows, columns = walk.places(0), walk.places(1)
    dead = walk.unread
    spare = [r.stop - hang for r, hang in zip((rows, columns), walk.overhang, strict=True)]
    for r in rows:
        for c in columns:
            kind = walk.kind(r, c)
            x, y = x0 + (c - columns.start) * look.cell, y0 + (r - rows.start) * look.cell
            dash = kind != "cell"
            stroke = "line" if kind == "cell" else "faint" if kind == "gap" else "line"
            key = f"{kind} {channel} {r} {c}" if kind != "cell" else _cell_key(walk, channel, r, c)
            out.append(Rect(x, y, look.cell, look.cell, kind, stroke, 1, dash, key, CELL))
            if kind == "cell":
                at = _cell(walk, r, c)
                if at in dead:
                    out.append(Hatch(x, y, look.cell, look.cell, key=f"unread {channel} {at[0]} "
                                     f"{at[1]}", z=OUTLINE))  # fmt: skip
                    if look.style == "numbers":  # the number stays readable on the strokes
                        w, h = look.cell * 0.52, look.cell * 0.5
                        out.append(Rect(x + look.cell * 0.14, y + look.cell * 0.17, w, h, "cell",
                                        z=OUTLINE))  # fmt: skip
                if look.style == "numbers":
                    value = walk.x[channel][at[0]][at[1]]
                    out.append(_value(value, look, x, y, "ink", f"value {key}"))
            elif look.style == "numbers" and r < spare[0] and c < spare[1]:
                zero = None if walk.operation == "max_pool" else 0
                out.append(_value(zero, look, x, y, "muted", ""))
    return out


def window_on(
    walk: Walk, step: Step, channel: int, look: Look, x0: float, y0: float
) -> list[Shape]:
    """The window over one channel: the cells it reads, with the kernel's numbers on them."""
    taps = [t for t in step.taps if t.channel == channel]
    out: list[Shape] = []
    rows, columns = walk.places(0), walk.places(1)

    def corner(place: Pair) -> tuple[float, float]:
        return (
            x0 + (place[1] - columns.start) * look.cell,
            y0 + (place[0] - rows.start) * look.cell,
        )

    for tap in taps:
        x, y = corner(tap.place)
        out += _tap(tap, walk, look, x, y)
    if all(w.dilation == 1 for w in walk.windows):
        (x, y), (right, bottom) = corner(taps[0].place), corner(taps[-1].place)
        w, h = right - x + look.cell, bottom - y + look.cell
        out.append(Rect(x, y, w, h, None, "accent", 2.5, z=OUTLINE))
    else:
        for tap in taps:
            x, y = corner(tap.place)
            out.append(Rect(x, y, look.cell, look.cell, None, "accent", 2, z=OUTLINE))
    return out


def _tap(tap: Tap, walk: Walk, look: Look, x: float, y: float) -> list[Shape]:
    index = tap.kernel[0] * walk.windows[1].kernel + tap.kernel[1]
    size = look.cell
    if look.style == "colours":
        fill = f"w{index % WEIGHTS}"
        label = Text(x + size / 2, y + size / 2, str(index + 1), look.value_size, "onweight",
                     key=_tap_key(tap), z=WRITING)  # fmt: skip
        painted: list[Shape] = [Rect(x, y, size, size, fill, "line", z=WINDOW)]
        return [*painted, label] if size >= 20 else painted
    fill = "window" if tap.cell is not None else "windowpad"
    out: list[Shape] = [Rect(x, y, size, size, fill, "line", z=WINDOW)]
    if look.style == "numbers" and tap.weight is not None:
        text = written(tap.weight)
        room = fitted(text, look.sub_size, size * 0.62)
        out.append(Text(x + size - 3, y + size - room * 0.62, text, room, "sub", "end", True,
                        key=_tap_key(tap), z=WRITING))  # fmt: skip
    return out


def kernel_map(walk: Walk, k: int, channel: int, look: Look, x0: float, y0: float) -> list[Shape]:
    """The kernel as the window lays it; in colours, each weight in its own."""
    out: list[Shape] = []
    size = look.cell
    for r, row in enumerate(walk.laid(k, channel)):
        for c, weight in enumerate(row):
            x, y = x0 + c * size, y0 + r * size
            index = r * len(row) + c
            key = f"w {k} {channel} {r} {c}"
            if look.style == "colours":
                out.append(Rect(x, y, size, size, f"w{index % WEIGHTS}", "line", key=key, z=CELL))
                out.append(centred(str(index + 1), look, x, y, "onweight"))
            else:
                out.append(Rect(x, y, size, size, "kernel", "line", key=key, z=CELL))
                if look.style == "numbers":
                    out.append(centred(written(weight), look, x, y, "ink", f"weight {key}"))
    return out


def output_map(
    walk: Walk, k: int, look: Look, x0: float, y0: float, done: int, marked: Iterable[Pair] = ()
) -> list[Shape]:
    """One output map with its first `done` cells (of all maps, in order) filled.

    The last of them is the current one. Cells in `marked` are set off: they differ from another
    dialect's.
    """
    out: list[Shape] = []
    rows, columns = walk.outputs
    first = k * rows * columns
    set_off = frozenset(marked)
    for r in range(rows):
        for c in range(columns):
            x, y = x0 + c * look.cell, y0 + r * look.cell
            index = first + r * columns + c
            out.append(Rect(x, y, look.cell, look.cell, "empty", "line", key=f"y {k} {r} {c}"))
            if index >= done:
                continue
            fill = "differsbg" if (r, c) in set_off else "out"
            out.append(Rect(x, y, look.cell, look.cell, fill, "line", z=WINDOW))
            if (r, c) in set_off:
                out.append(Rect(x + 1.5, y + 1.5, look.cell - 3, look.cell - 3, None, "differs", 2,
                                key=f"differs {k} {r} {c}", z=OUTLINE))  # fmt: skip
            if look.style == "numbers":
                text = written(walk.results[k][r][c], look.digits)
                out.append(centred(text, look, x, y, "ink", f"result y {k} {r} {c}"))
    return out


def current(walk: Walk, step: Step, look: Look, x0: float, y0: float) -> list[Shape]:
    """The output cell that a window makes, set off."""
    _, r, c = step.out
    x, y = x0 + c * look.cell, y0 + r * look.cell
    return [
        Rect(x, y, look.cell, look.cell, "now", "line", z=NOW),
        Rect(x, y, look.cell, look.cell, None, "done", 2.5, z=OUTLINE),
    ]


def centred(text: str, look: Look, x: float, y: float, role: str, key: str = "") -> Text:
    """Text in the middle of a cell, as small as it must be to fit."""
    size = fitted(text, look.value_size, look.cell - 4)
    return Text(x + look.cell / 2, y + look.cell / 2, text, size, role, key=key, z=WRITING)


def _value(value: Number | None, look: Look, x: float, y: float, role: str, key: str) -> Text:
    """An input's number, a little to the upper left: the kernel's number comes below it."""
    text = written(value)
    size = fitted(text, look.value_size, look.cell * 0.62)
    return Text(x + look.cell * 0.4, y + look.cell * 0.42, text, size, role, key=key, z=WRITING)


def _cell(walk: Walk, row: int, column: int) -> Pair:
    """The input cell at a position of the spread input."""
    return row // walk.windows[0].input_dilation, column // walk.windows[1].input_dilation


def _cell_key(walk: Walk, channel: int, row: int, column: int) -> str:
    r, c = _cell(walk, row, column)
    return f"x {channel} {r} {c}"


def _tap_key(tap: Tap) -> str:
    met = f"{tap.cell[0]} {tap.cell[1]}" if tap.cell else "zero"
    return f"tap {tap.channel} {tap.kernel[0]} {tap.kernel[1]} on {met}"
