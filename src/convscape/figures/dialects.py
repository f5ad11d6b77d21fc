"""The same settings in two dialects, side by side: which output cells are not the same."""

from collections.abc import Sequence

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.figures import caption, grid
from convscape.figures.convolution import GAP, MARGIN, heading
from convscape.figures.figure import Figure
from convscape.figures.grid import Look, style_named
from convscape.figures.numbers import Maps
from convscape.figures.problem import walk_of
from convscape.figures.scene import Line, Scene, Shape, Text, fitted
from convscape.figures.steps import Pair
from convscape.figures.walk import Walk

MOST = 4
"""Most dialects on one page."""

_NAMES = {"keras": "Keras", "torch": "PyTorch", "onnx": "ONNX", "jax": "JAX"}


def compare_dialects(
    layers: Sequence[Layer],
    size: int | Sequence[int],
    *,
    style: str = "numbers",
    values: str | Maps = "deck",
    weights: str | Maps = "deck",
    seed: int = 0,
    title: str | None = None,
    theme: str = "auto",
) -> Figure:
    """Draw what each dialect makes of the same layer, and set off the cells that differ.

    An output cell differs from the first dialect's when it reads other cells, divides by another
    number, or is missing there. The first window is shown on each input.

    Args:
        layers: 2 to 4 layers with one channel, one a dialect.
        size: Input cells.
        style: numbers, colours or plain.
        values: The input's numbers: deck, random, or e.g. "1,2;3,4".
        weights: The kernel's numbers likewise.
        seed: Of the random numbers.
        title: Heading; None makes one.
        theme: light, dark or auto.

    Raises:
        InputError: A dialect that refuses the layer, layers of different operations or several
            channels, or an input too large to draw.
    """
    if not 2 <= len(layers) <= MOST:
        raise InputError(
            f"a comparison has 2 to {MOST} dialects", f"{len(layers)}", "e.g. keras,torch"
        )
    if len({layer.operation for layer in layers}) > 1:
        raise InputError(
            "dialects are compared on one operation",
            ", ".join(layer.operation for layer in layers),
            "give the same operation for all",
        )
    if any(layer.in_channels > 1 or layer.out_channels > 1 for layer in layers):
        raise InputError(
            "dialects are compared on one channel", "several channels", "leave the channels out"
        )
    walks = [walk_of(layer, size, values=values, weights=weights, seed=seed) for layer in layers]
    others = [differing(walks[0], walk) for walk in walks]
    others[0] = frozenset().union(*(differing(walk, walks[0]) for walk in walks[1:]))
    said = _said(layers, walks, others)
    name = " and ".join(_NAMES.get(layer.dialect, layer.dialect) for layer in layers)
    scene = _scene(layers, walks, others, said, Look(style_named(style), 32, _digits(layers[0])),
                   name if title is None else title)  # fmt: skip
    return Figure(scene, title or name, said, (), theme)


def differing(one: Walk, other: Walk) -> frozenset[Pair]:
    """Output cells of `other` that read something else than the same cell of `one`.

    Example:
        >>> from convscape.figures.problem import walk_of
        >>> keras = walk_of(Layer.of("keras", "conv", 3, 2, "same"), (6,))
        >>> torch = walk_of(Layer.of("torch", "conv", 3, 2, 1), (6,))
        >>> sorted(differing(keras, torch))
        [(0, 0), (0, 1), (0, 2)]
    """
    rows, columns = one.outputs
    out = set()
    for r in range(other.outputs[0]):
        for c in range(other.outputs[1]):
            missing = r >= rows or c >= columns
            if missing or _reads(one, r, c) != _reads(other, r, c):
                out.add((r, c))
    return frozenset(out)


def _reads(walk: Walk, r: int, c: int) -> tuple[object, ...]:
    step = walk.at(0, r, c)
    met = tuple((t.cell, t.weight) for t in step.taps if t.cell is not None)
    return met, step.divisor


def _digits(layer: Layer) -> int | None:
    return 1 if layer.operation == "avg_pool" else None


def _said(layers: Sequence[Layer], walks: Sequence[Walk], others: Sequence[frozenset[Pair]]) -> str:
    sizes = {walk.outputs for walk in walks}
    count = len(others[0].union(*others))
    total = max(rows * columns for rows, columns in sizes)
    if not count:
        return "Every output cell reads the same cells."
    size = "The same size" if len(sizes) == 1 else "Different sizes"
    return f"{size}; {count} of {total} output cells read other cells or are missing."


def _scene(
    layers: Sequence[Layer],
    walks: Sequence[Walk],
    others: Sequence[frozenset[Pair]],
    said: str,
    look: Look,
    title: str,
) -> Scene:
    top = MARGIN + (28 if title else 0)
    shapes: list[Shape] = []
    y, width = float(top), 420.0
    for layer, walk, marked in zip(layers, walks, others, strict=True):
        (iw, ih), (ow, oh) = (
            grid.input_size(walk, look.cell), grid.output_size(walk, look.cell)
        )  # fmt: skip
        kernel = not walk.pooling and look.style != "plain"
        kw, kh = (w.kernel * look.cell for w in reversed(walk.windows))
        found = caption.explanations(walk)
        tw, th = caption.table_size(found)
        tall = max(ih, oh, kh if kernel else 0, th + 4)
        shapes.append(Text(MARGIN, y + 10, _spelling(layer), 13.5, anchor="start", bold=True))
        y += 40

        def middle(height: float, y: float = y, tall: float = tall) -> float:
            return y + (tall - height) / 2

        x = float(MARGIN)
        if kernel:
            turned = ", turned" if walk.operation == "transposed" else ""
            shapes += _named(f"kernel{turned}", x, middle(kh))
            shapes += grid.kernel_map(walk, 0, 0, look, x, middle(kh))
            x += kw + GAP
        step = walk.step(0)
        shapes += _named(f"input {_times(walk, walk.spatial)}", x, middle(ih))
        shapes += grid.input_map(walk, 0, look, x, middle(ih))
        shapes += grid.window_on(walk, step, 0, look, x, middle(ih))
        x += iw + GAP
        shapes.append(Line(((x - GAP + 8, y + tall / 2), (x - 8, y + tall / 2)), "muted", 1.5,
                           arrow=True))  # fmt: skip
        shapes += _named(f"output {_times(walk, walk.outputs)}", x, middle(oh))
        shapes += grid.output_map(walk, 0, look, x, middle(oh), walk.count, marked)
        x += max(ow, 70) + 30
        shapes += caption.table(found, x, middle(th))
        width = max(width, x + tw + MARGIN)
        y += tall + 24
    size = fitted(said, 13, width - 2 * MARGIN)
    shapes.append(Text(MARGIN, y + 4, said, size, anchor="start", key="differing"))
    shapes += heading(title, width)
    return Scene(round(width), round(y + 30), tuple(shapes))


def _named(text: str, x: float, y: float) -> list[Shape]:
    return [Text(x, y - 9, text, 12, "muted", "start")]


def _times(walk: Walk, sizes: Pair) -> str:
    return str(sizes[1]) if walk.rank == 1 else f"{sizes[0]}×{sizes[1]}"


def _spelling(layer: Layer) -> str:
    """The layer's settings that dialects differ in, as it was written."""
    padding = dict.fromkeys(str(p) for p in layer.padding)
    more = ", ceil_mode" if layer.ceil_mode else ""
    if layer.output_padding:
        more += f", output_padding {max(layer.output_padding)}"
    strides = "×".join(dict.fromkeys(map(str, layer.stride)))
    name = _NAMES.get(layer.dialect, layer.dialect)
    return f"{name}: stride {strides}, padding {' × '.join(padding)}{more}"
