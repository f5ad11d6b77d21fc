"""A convolution, pooling or transposed convolution drawn window by window, from a `Walk`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from convscape.arithmetic.explain import Explanation
from convscape.figures import caption, grid
from convscape.figures.grid import Look
from convscape.figures.scene import Line, Scene, Shape, Text, fitted, moved, text_width, unkeyed
from convscape.figures.steps import Step
from convscape.figures.walk import Walk

MARGIN = 18
GAP = 44
LABEL = 18
LEAST_WIDTH = 470


@dataclass(frozen=True)
class Layout:
    """Where everything lies; the same for all frames of a walk.

    Args:
        walk: What is drawn.
        look: How.
        title: The heading.
        least: Width of the page at least.
        tile: Whether it is one of many on a sheet, where the kernel is not repeated.
    """

    walk: Walk
    look: Look
    title: str = ""
    least: float = LEAST_WIDTH
    tile: bool = False

    @cached_property
    def columns(self) -> list[tuple[float, float, int]]:
        """Width, height and number of maps: kernels (if any), inputs, outputs."""
        walk, size = self.walk, self.look.cell
        into, out = grid.input_size(walk, size), grid.output_size(walk, size)
        found = [(*into, len(walk.x)), (*out, walk.out_channels)]
        if self.has_kernel:
            kernel = walk.windows[1].kernel * size, walk.windows[0].kernel * size
            found.insert(0, (*kernel, len(walk.channels_of(0))))
        return found

    @property
    def has_kernel(self) -> bool:
        """Whether there is a kernel to draw."""
        return not self.walk.pooling and self.look.style != "plain" and not self.tile

    @property
    def height(self) -> float:
        """Height of the maps with their labels."""
        return max(n * (h + LABEL) + (n - 1) * 8 for _, h, n in self.columns)

    @cached_property
    def width(self) -> float:
        """Width of the maps, and what the lines below need at least."""
        widths = self.widths
        return max(self.least, sum(widths) + GAP * (len(widths) - 1) + 2 * MARGIN)

    @cached_property
    def widths(self) -> list[float]:
        """Width of each column: of its maps or of its label."""
        pairs = zip(self.columns, self.labels, strict=True)
        return [max(w, text_width(label, 12)) for (w, _, _), label in pairs]

    @cached_property
    def labels(self) -> list[str]:
        """What stands above the maps of each column."""
        walk = self.walk
        (height, width), (rows, columns) = walk.spatial, walk.outputs
        one = walk.rank == 1
        spread = any(w.input_dilation > 1 for w in walk.windows)
        into = "spread input" if spread else "input"
        found = [
            f"{into} {width}" if one else f"{into} {height}×{width}",
            f"output {columns}" if one else f"output {rows}×{columns}",
        ]
        if self.has_kernel:
            kh, kw = walk.windows[0].kernel, walk.windows[1].kernel
            turned = " turned" if walk.operation == "transposed" and kh * kw > 1 else ""
            found.insert(0, f"kernel {kw}{turned}" if one else f"kernel {kh}×{kw}{turned}")
        several = (len(walk.channels_of(0)) > 1 or walk.out_channels > 1) and self.has_kernel
        counts = [several] * self.has_kernel + [len(walk.x) > 1, walk.out_channels > 1]
        return [f + ", channel 0 " * c for f, c in zip(found, counts, strict=True)]

    def place(self, column: int, index: int) -> tuple[float, float]:
        """Upper left corner of a map; columns are centred on each other."""
        widths = self.widths
        room = self.width - 2 * MARGIN - sum(widths)
        gap = room / max(1, len(widths) - 1)
        gap = min(gap, 90)
        left = (self.width - sum(widths) - gap * (len(widths) - 1)) / 2
        x = left + sum(widths[:column]) + gap * column
        w, h, n = self.columns[column]
        total = n * (h + LABEL) + (n - 1) * 8
        top = self.top + (self.height - total) / 2 + LABEL
        return round(x + (widths[column] - w) / 2, 1), round(top + index * (h + LABEL + 8), 1)

    @property
    def top(self) -> float:
        """Where the maps begin, below the heading."""
        return MARGIN + (28 if self.title else 0)


def frame(layout: Layout, index: int, lines: int = 0, *, complete: bool = False) -> Scene:
    """The picture at one window.

    Args:
        layout: Where everything lies.
        index: The window, in reading order.
        lines: Lines kept free for the sum; 0 leaves the sum out.
        complete: Show the whole output, not only what is computed up to this window.
    """
    step = layout.walk.step(index)
    shapes = heading(layout.title, layout.width)
    shapes += _maps(layout, step, layout.walk.count if complete else index + 1)
    y = layout.top + layout.height + 14
    found = caption.explanations(layout.walk)
    wide, high = caption.table_size(found)
    if lines:
        width = layout.width - 3 * MARGIN - wide
        shapes += _sum(layout, index, caption.sum_lines(step, layout.look.digits, width), y)
        shapes += caption.table(found, layout.width - MARGIN - wide, y + 4)
        y += max(lines * caption.SUM_LEADING, high + 4) + 8
    below, bottom = foot(found, y, layout.width, table=not lines)
    return Scene(layout.width, round(bottom + MARGIN), tuple(shapes + below))


def lines_needed(layout: Layout) -> int:
    """Lines that the longest sum of a walk takes beside the table; none in plain or colours."""
    if layout.look.style != "numbers":
        return 0
    wide, _ = caption.table_size(caption.explanations(layout.walk))
    width = layout.width - 3 * MARGIN - wide
    return 1 + caption.line_count(layout.walk, width)


def _maps(layout: Layout, step: Step | None, done: int) -> list[Shape]:
    walk, look = layout.walk, layout.look
    shapes: list[Shape] = []
    out_channel = step.out[0] if step else 0
    read = walk.channels_of(out_channel)
    column = int(layout.has_kernel)
    if layout.has_kernel:
        for index, channel in enumerate(read):
            x, y = layout.place(0, index)
            link = f"{channel}→{out_channel}"
            shapes.append(_label(layout.labels[0].replace("channel 0", link), x, y))
            shapes += grid.kernel_map(walk, out_channel, channel, look, x, y)
    for channel in range(len(walk.x)):
        x, y = layout.place(column, channel)
        shapes.append(_label(layout.labels[column].replace("l 0", f"l {channel}"), x, y))
        shapes += grid.input_map(walk, channel, look, x, y)
        if step is not None and channel in read:
            shapes += grid.window_on(walk, step, channel, look, x, y)
    for k in range(walk.out_channels):
        x, y = layout.place(column + 1, k)
        shapes.append(_label(layout.labels[column + 1].replace("l 0", f"l {k}"), x, y))
        shapes += grid.output_map(walk, k, look, x, y, done)
        if step is not None and k == out_channel:
            shapes += grid.current(walk, step, look, x, y)
    ax, _ = layout.place(column + 1, 0)
    ix, _ = layout.place(column, 0)
    right = ix + layout.columns[column][0]
    middle = layout.top + layout.height / 2 + LABEL / 2
    if ax - right > 24:
        shapes.append(Line(((right + 8, middle), (ax - 8, middle)), "muted", 1.5, arrow=True))
    return shapes


def _label(text: str, x: float, y: float) -> Text:
    return Text(x, y - 9, text, 12, "muted", "start")


def _sum(layout: Layout, index: int, lines: Sequence[str], y: float) -> list[Shape]:
    where = f"window {index + 1} of {layout.walk.count}"
    leading = caption.SUM_LEADING
    out: list[Shape] = [Text(MARGIN, y + leading / 2, where, 12, "muted", "start")]
    for at, line in enumerate(lines, 1):
        last = at == len(lines)
        out.append(Text(MARGIN, y + (at + 0.5) * leading, line, caption.SUM_SIZE,
                        anchor="start", bold=last, key="total" if last else "sum"))  # fmt: skip
    return out


def heading(title: str, width: float) -> list[Shape]:
    """The title, as small as it must be to fit."""
    if not title:
        return []
    size = fitted(title, 16, width - 2 * MARGIN)
    return [Text(MARGIN, MARGIN + 8, title, size, anchor="start", bold=True)]


def foot(
    found: Sequence[tuple[str, Explanation]], y: float, width: float, *, table: bool = True
) -> tuple[list[Shape], float]:
    """The table of sizes (if asked), the relationship below it, and where they end."""
    shapes: list[Shape] = []
    if table:
        shapes += caption.table(found, MARGIN, y)
        y += caption.table_size(found)[1] + 8
    for text, role in caption.relationship(found, width - 2 * MARGIN):
        size = fitted(text, 13 if role == "ink" else 12, width - 2 * MARGIN)
        shapes.append(Text(MARGIN, y + 9, text, size, role, "start"))
        y += 18
    return shapes, y


def sheet(layout: Layout, chosen: Sequence[int], columns: int | None = None) -> Scene:
    """Several windows on one page, as a book prints them: small maps, one caption.

    Args:
        layout: Where everything lies in one of them.
        chosen: The windows to show, in reading order.
        columns: Pictures in a row; None fills about 900 units.
    """
    tiles = []
    for index in chosen:
        step = layout.walk.step(index)
        tiles.append([unkeyed(s) for s in _maps(layout, step, index + 1)])
    wide, high = layout.width, layout.height + LABEL
    across = columns or max(1, min(len(tiles), int(960 // wide)))
    shapes: list[Shape] = []
    for at, tile in enumerate(tiles):
        row, column = divmod(at, across)
        shapes += moved(tile, column * wide, row * high)
    width = max(wide * across, LEAST_WIDTH)
    y = layout.top + high * ceil(len(tiles) / across)
    if len(chosen) < layout.walk.count:
        note = f"{len(chosen)} of {layout.walk.count} windows"
        shapes.append(Text(MARGIN, y + 6, note, 12, "muted", "start"))
        y += 22
    below, bottom = foot(caption.explanations(layout.walk), y + 4, width)
    shapes += heading(layout.title, width)
    return Scene(width, round(bottom + MARGIN), tuple(shapes + below))
