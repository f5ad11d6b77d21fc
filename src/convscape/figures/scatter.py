"""A transposed convolution as scattering: every input cell adds its multiple of the kernel."""

from dataclasses import dataclass
from functools import cached_property

from convscape.figures import caption
from convscape.figures.convolution import GAP, LABEL, LEAST_WIDTH, MARGIN, foot, heading
from convscape.figures.grid import OUTLINE, WINDOW, WRITING, Look, centred
from convscape.figures.limits import places
from convscape.figures.numbers import factor, written
from convscape.figures.scene import Line, Rect, Scene, Shape, Text, fitted
from convscape.figures.steps import Pair, Scatter
from convscape.figures.theme import WEIGHTS
from convscape.figures.walk import Walk


@dataclass(frozen=True)
class Layout:
    """Input, kernel and output beside each other; the output with the border that is cropped.

    Args:
        walk: A transposed convolution.
        look: How it is drawn.
        title: The heading.
    """

    walk: Walk
    look: Look
    title: str = ""

    @cached_property
    def steps(self) -> tuple[Scatter, ...]:
        """What each input cell adds."""
        return self.walk.scatters()

    @cached_property
    def canvas(self) -> tuple[range, range]:
        """Positions of the output with the cropped border."""
        rows, columns = (
            places(w, n) for w, n in zip(self.walk.scattering, self.walk.outputs, strict=True)
        )
        return rows, columns

    @cached_property
    def sizes(self) -> tuple[tuple[float, float, int], ...]:
        """Width, height and number of input, kernel and output maps."""
        size, walk = self.look.cell, self.walk
        (height, width), (rows, columns) = walk.spatial, self.canvas
        kh, kw = (w.kernel for w in walk.windows)
        return (
            (width * size, height * size, len(walk.x)),
            (kw * size, kh * size, walk.out_channels // walk.groups),
            (len(columns) * size, len(rows) * size, walk.out_channels),
        )

    @property
    def width(self) -> float:
        """Width of the page."""
        least = sum(max(w, 92) for w, _, _ in self.sizes)
        return max(LEAST_WIDTH, least + 2 * GAP + 2 * MARGIN)

    @property
    def height(self) -> float:
        """Height of the maps."""
        return max(n * (h + LABEL + 8) for _, h, n in self.sizes)

    def place(self, column: int, index: int) -> tuple[float, float]:
        """Upper left corner of a map."""
        widths = [max(w, 92) for w, _, _ in self.sizes]
        gap = min(80, (self.width - 2 * MARGIN - sum(widths)) / 2)
        left = (self.width - sum(widths) - 2 * gap) / 2
        w, h, n = self.sizes[column]
        x = left + sum(widths[:column]) + gap * column + (widths[column] - w) / 2
        top = MARGIN + (28 if self.title else 0)
        y = top + (self.height - n * (h + LABEL + 8)) / 2 + LABEL + index * (h + LABEL + 8)
        return round(x, 1), round(y, 1)


def frame(layout: Layout, index: int) -> Scene:
    """The picture while one input cell scatters; the output is what has been added so far."""
    walk, look, step = layout.walk, layout.look, layout.steps[index]
    shapes = heading(layout.title, layout.width)
    shapes += _inputs(layout, step, index) + _kernels(layout, step) + _outputs(layout, step)
    for column, sign in enumerate(("×", "=")):
        (x0, _), (x1, _) = layout.place(column, 0), layout.place(column + 1, 0)
        x = (x0 + layout.sizes[column][0] + x1) / 2
        y = MARGIN + (28 if layout.title else 0) + LABEL / 2 + layout.height / 2
        if column:
            shapes.append(Line(((x - 14, y), (x + 14, y)), "muted", 1.5, arrow=True))
        else:
            shapes.append(Text(x, y, sign, 20, "muted"))
    y = MARGIN + (28 if layout.title else 0) + layout.height + 12
    found = caption.explanations(walk)
    if look.style == "numbers":
        value = factor(step.value)
        said = f"cell {index + 1} of {len(layout.steps)}: {value} times the kernel is added"
        shapes.append(Text(MARGIN, y + 9, said, 13, anchor="start", key="sum"))
        y += 24
    below, bottom = foot(found, y, layout.width)
    return Scene(layout.width, round(bottom + MARGIN), tuple(shapes + below))


def _inputs(layout: Layout, step: Scatter, index: int) -> list[Shape]:
    walk, look, out = layout.walk, layout.look, list[Shape]()
    height, width = walk.spatial
    for channel, rows in enumerate(walk.x):
        x0, y0 = layout.place(0, channel)
        name = f"input {width}" if walk.rank == 1 else f"input {height}×{width}"
        of = f", channel {channel}" if len(walk.x) > 1 else ""
        out.append(Text(x0, y0 - 9, name + of, 12, "muted", "start"))
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                x, y = x0 + c * look.cell, y0 + r * look.cell
                key = f"x {channel} {r} {c}"
                out.append(Rect(x, y, look.cell, look.cell, "cell", "line", key=key))
                if (channel, r, c) == step.cell:
                    out.append(Rect(x, y, look.cell, look.cell, "window", "line", z=WINDOW))
                    out.append(Rect(x, y, look.cell, look.cell, None, "accent", 2.5, z=OUTLINE))
                if look.style == "numbers":
                    out.append(centred(written(value), look, x, y, "ink", f"value {key}"))
    return out


def _kernels(layout: Layout, step: Scatter) -> list[Shape]:
    walk, look, out = layout.walk, layout.look, list[Shape]()
    channel = step.cell[0]
    targets = [k for k in range(walk.out_channels) if channel in walk.channels_of(k)]
    for index, k in enumerate(targets):
        x0, y0 = layout.place(1, index)
        kernel = walk.weights[k][channel - walk.channels_of(k).start]
        kh, kw = len(kernel), len(kernel[0])
        link = f", {channel}→{k}" if len(walk.x) > 1 or walk.out_channels > 1 else ""
        name = f"kernel {kw}" if walk.rank == 1 else f"kernel {kh}×{kw}"
        out.append(Text(x0, y0 - 9, name + link, 12, "muted", "start"))
        for r, row in enumerate(kernel):
            for c, weight in enumerate(row):
                x, y = x0 + c * look.cell, y0 + r * look.cell
                number = r * kw + c
                fill = f"w{number % WEIGHTS}" if look.style == "colours" else "kernel"
                key = f"w {k} {channel} {r} {c}"
                out.append(Rect(x, y, look.cell, look.cell, fill, "line", key=key))
                if look.style == "numbers":
                    out.append(centred(written(weight), look, x, y, "ink", f"weight {key}"))
                elif look.style == "colours":
                    out.append(centred(str(number + 1), look, x, y, "onweight"))
    return out


def _outputs(layout: Layout, step: Scatter) -> list[Shape]:
    walk, look, out = layout.walk, layout.look, list[Shape]()
    rows, columns = layout.canvas
    height, width = walk.outputs
    for k in range(walk.out_channels):
        x0, y0 = layout.place(2, k)

        def corner(place: Pair, x0: float = x0, y0: float = y0) -> Pair | tuple[float, float]:
            return (
                x0 + (place[1] - columns.start) * look.cell,
                y0 + (place[0] - rows.start) * look.cell,
            )

        name = f"output {width}" if walk.rank == 1 else f"output {height}×{width}"
        of = f", channel {k}" if walk.out_channels > 1 else ""
        crop = ", cropped" if len(rows) > height or len(columns) > width else ""
        out.append(Text(x0, y0 - 9, name + of + crop, 12, "muted", "start"))
        mine = {add.place: add for add in step.adds if add.channel == k}
        for r in rows:
            for c in columns:
                x, y = corner((r, c))
                inside = 0 <= r < height and 0 <= c < width
                fill, key = ("out", f"y {k} {r} {c}") if inside else ("pad", f"crop {k} {r} {c}")
                out.append(Rect(x, y, look.cell, look.cell, fill, "line", dash=not inside, key=key))
                if look.style == "numbers" and inside:
                    out.append(_total(layout, step, (k, r, c), x, y))
                add = mine.get((r, c))
                if add is not None:
                    out += _painted(layout, step, (k, r, c), x, y)
    return out


def _total(layout: Layout, step: Scatter, at: tuple[int, int, int], x: float, y: float) -> Shape:
    k, r, c = at
    look = layout.look
    text = written(step.totals[k][r][c])
    size = fitted(text, look.value_size, look.cell * 0.66)
    return Text(x + look.cell * 0.42, y + look.cell * 0.4, text, size, key=f"total y {k} {r} {c}",
                z=WRITING)  # fmt: skip


def _painted(
    layout: Layout, step: Scatter, at: tuple[int, int, int], x: float, y: float
) -> list[Shape]:
    """What this cell adds to one output cell: painted, with the product as a subscript."""
    look = layout.look
    add = next(a for a in step.adds if a.channel == at[0] and a.place == at[1:])
    index = add.kernel[0] * layout.walk.windows[1].kernel + add.kernel[1]
    fill = "window" if add.kept else "windowpad"
    if look.style == "colours":
        fill = f"w{index % WEIGHTS}"
    out: list[Shape] = [
        Rect(x, y, look.cell, look.cell, fill, "line", z=WINDOW),
        Rect(x, y, look.cell, look.cell, None, "accent", 1.5, z=OUTLINE),
    ]
    if look.style == "numbers" and add.kept:
        product = written(step.value * add.weight)
        text = product if product.startswith("−") else f"+{product}"
        size = fitted(text, look.sub_size, look.cell * 0.7)
        out.append(Text(x + look.cell - 3, y + look.cell - size * 0.62, text, size, "sub", "end",
                        True, key=f"add y {at[0]} {at[1]} {at[2]}", z=WRITING))  # fmt: skip
    elif look.style == "colours":
        out.append(centred(str(index + 1), look, x, y, "onweight"))
    return out
