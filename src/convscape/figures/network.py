"""A network as a chart: for every layer the size of its map and the field of its cells."""

from math import log2

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Network, Node
from convscape.arithmetic.summary import times
from convscape.figures.field import spelled
from convscape.figures.figure import Figure
from convscape.figures.scene import Line, Rect, Scene, Shape, Text, shortened

MAX_ROWS = 160
"""Most layers of a chart."""

MARGIN, ROW, BAR = 18, 22, 14
NAME, SPELLED, SHAPE, CHART = 190, 150, 110, 360


def network_figure(network: Network, *, title: str | None = None, theme: str = "auto") -> Figure:
    """Chart a network: map size and receptive field of each layer that slides a window.

    Both are lengths on the input's longest axis that windows slide over, on one logarithmic
    scale, so one sees where the field of a cell outgrows the image.

    Args:
        network: A traced network (`convscape.trace`).
        title: Heading; None is the network's name.
        theme: light, dark or auto.

    Raises:
        InputError: No layer slides a window, or more of them than fit a chart.
    """
    rows = [(node, *found) for node in network.layers if (found := _lengths(network, node))]
    if not rows:
        raise InputError(
            "a chart needs layers that slide a window", network.name, "trace a convolutional net"
        )
    if len(rows) > MAX_ROWS:
        raise InputError(
            f"a chart has at most {MAX_ROWS} layers", f"{len(rows)} of them", "chart a part of it"
        )
    cells = max(network.sources[s].cells for s in network.spatial)
    name = network.name if title is None else title
    scene = _scene(network, rows, cells, name)
    _, size, field = rows[-1]
    said = (
        f"{len(rows)} layers with windows on an input of {cells} cells; the last has a map of "
        f"{size} cells" + (f" and a field of {field}." if field else ".")
    )
    return Figure(scene, name or network.name, said, (), theme)


def _lengths(network: Network, node: Node) -> tuple[int, int | None] | None:
    """Map size and field on the longest axis; None of a layer without windows."""
    if node.geometry is None or node.shape is None or not node.axes:
        return None
    size = max(node.shape[a] for a in node.axes)
    known = [f for f in network.local_field(node) if f is not None]
    return size, max(known) if known else None


def _scene(
    network: Network, rows: list[tuple[Node, int, int | None]], cells: int, title: str
) -> Scene:
    longest = max([cells, *(s for _, s, _ in rows), *(f for _, _, f in rows if f)])
    left = MARGIN + NAME + SPELLED + SHAPE
    width = left + CHART + 112

    def reach(length: int) -> float:
        """Length of a bar: a whole for the longest, and something to see for a single cell."""
        return round(12 + (CHART - 12) * log2(length) / max(1.0, log2(longest)), 1)

    shapes: list[Shape] = []
    y = float(MARGIN)
    if title:
        shapes.append(Text(MARGIN, y + 8, shortened(title, 16, width - 2 * MARGIN), 16,
                           anchor="start", bold=True))  # fmt: skip
        y += 30
    shapes += _legend(left, y)
    shapes.append(Text(left + CHART + 48, y + 5, "map", 12, "size", "end"))
    shapes.append(Text(left + CHART + 104, y + 5, "field", 12, "field", "end"))
    y += 30
    top = y
    for node, size, field in rows:
        middle = y + ROW / 2
        shape = network.shape(node)
        shapes.append(Text(MARGIN, middle, shortened(node.name, 12, NAME - 10), 12, anchor="start"))
        kind = _spelled(node)
        at = MARGIN + NAME
        shapes.append(Text(at, middle, shortened(kind, 12, SPELLED - 8), 12, "muted", "start"))
        shapes.append(Text(left - 14, middle, times(shape or ()).replace("x", "×"), 12, "muted",
                           "end"))  # fmt: skip
        shapes.append(Rect(left, y + 3, reach(size), BAR / 2, "size", key=f"size {size}", z=1))
        if field is not None:
            shapes.append(Rect(left, y + 3 + BAR / 2, reach(field), BAR / 2, "field",
                               key=f"field {field}", z=1))  # fmt: skip
        shapes.append(Text(left + CHART + 48, middle, str(size), 12, "size", "end"))
        told = "?" if field is None else str(field)
        shapes.append(Text(left + CHART + 104, middle, told, 12, "field", "end"))
        y += ROW
    x = left + reach(cells)
    shapes.append(Line(((x, top - 4), (x, y + 2)), "muted", 1.2, dash=True, z=0))
    shapes.append(Text(x, y + 12, f"input: {cells}", 11.5, "muted"))
    return Scene(width, round(y + 30), tuple(shapes))


def _spelled(node: Node) -> str:
    """What the layer does and the windows it slides: one where all axes have the same."""
    windows = dict.fromkeys(node.geometry.windows if node.geometry else ())
    letters = " × ".join(map(spelled, windows))
    return f"{node.op.replace('_', ' ')} {letters}"


def _legend(x: float, y: float) -> list[Shape]:
    return [
        Rect(x, y + 1, 14, 8, "size"),
        Text(x + 20, y + 5, "cells of the map", 12, anchor="start"),
        Rect(x + 130, y + 1, 14, 8, "field"),
        Text(x + 150, y + 5, "field, in input cells (log scale)", 12, anchor="start"),
    ]
