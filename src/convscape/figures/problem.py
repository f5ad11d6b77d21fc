"""From what a caller has (a window, a geometry, a layer) to a `Walk` with numbers on it."""

import random
from collections.abc import Sequence
from fractions import Fraction
from math import prod

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.operations import operation
from convscape.arithmetic.window import Window
from convscape.figures.limits import check_drawable
from convscape.figures.numbers import (
    DECK_INPUT,
    DECK_KERNEL,
    SOURCES,
    Grid,
    Maps,
    grid,
    parse,
    random_grid,
    tidy,
)
from convscape.figures.walk import Walk

ONE = Window(1)
"""The window of the axis that a one-dimensional layer does not have."""


def walk_of(
    what: Window | Geometry | Layer,
    size: int | Sequence[int] | None = None,
    *,
    operation_name: str | None = None,
    values: str | Maps = "deck",
    weights: str | tuple[Maps, ...] | Maps = "deck",
    seed: int = 0,
) -> Walk:
    """A layer on an input, with numbers.

    Args:
        what: A window (slides along both axes), a geometry, or a layer in some dialect.
        size: Input cells: one number for every axis, or one an axis; None takes the smallest
            input with three windows an axis (of a `Layer`, none is known: give it).
        operation_name: One of `OPERATIONS`; None is what a layer says, or else "transposed" where
            the input is spread and "conv" where it is not.
        values: The input's numbers: deck, random, text such as "1,2;3,4", or maps of numbers.
        weights: The kernel's numbers likewise; text lists the kernels of the first output
            channel, then of the second, and so on.
        seed: Of the random numbers.

    Raises:
        InputError: An input that is too large to draw, three axes or more, or numbers that do not
            fit.
    """
    if isinstance(what, Layer):
        return _of_layer(what, size, values, weights, seed)
    geometry = what if isinstance(what, Geometry) else Geometry((what,) * _rank(size))
    windows = geometry.windows
    spatial = _sizes(windows, size)
    spread = any(w.input_dilation > 1 for w in windows)
    op = operation(operation_name or ("transposed" if spread else "conv"))
    counts = geometry.in_channels, geometry.out_channels, geometry.groups
    return _walk(op, windows, None, spatial, counts, False, values, weights, seed)


def _of_layer(
    layer: Layer,
    size: int | Sequence[int] | None,
    values: str | Maps,
    weights: str | tuple[Maps, ...] | Maps,
    seed: int,
) -> Walk:
    if size is None:
        raise InputError(
            "a layer is drawn on an input of some size", "no size", "give the input's cells"
        )
    spatial = (size,) * layer.rank if isinstance(size, int) else tuple(size)
    configured = layer.configured(spatial) if layer.ceil_mode else None
    counts = (layer.in_channels, layer.out_channels, layer.groups)
    return _walk(
        layer.operation, layer.windows(spatial), configured, spatial, counts,
        layer.count_include_pad, values, weights, seed,
    )  # fmt: skip


def _walk(
    op: str,
    windows: Sequence[Window],
    configured: Sequence[Window] | None,
    spatial: Sequence[int],
    counts: tuple[int, int, int],
    counts_padding: bool,
    values: str | Maps,
    weights: str | tuple[Maps, ...] | Maps,
    seed: int,
) -> Walk:
    rank = len(windows)
    if rank > 2:
        raise InputError(
            "figures have one or two axes", f"{rank} axes", "draw two of the axes at a time"
        )
    in_channels, out_channels, groups = counts
    both = (ONE, *windows) if rank == 1 else tuple(windows)
    cells = (1, *spatial) if rank == 1 else tuple(spatial)
    name = operation(op)
    pooling = name.endswith("pool")
    check_drawable(both, cells, in_channels, in_channels if pooling else out_channels)
    generator = random.Random(seed)
    x = _maps("values", values, in_channels, cells[0], cells[1], DECK_INPUT, generator)
    kernels: tuple[Maps, ...] = ()
    if not pooling:
        each = in_channels // groups
        flat = _maps("weights", weights, out_channels * each, both[0].kernel, both[1].kernel,
                     DECK_KERNEL, generator)  # fmt: skip
        kernels = tuple(flat[k * each : (k + 1) * each] for k in range(out_channels))
    first = None
    if configured is not None:
        first = (ONE, configured[0]) if rank == 1 else (configured[0], configured[1])
    return Walk(
        name, (both[0], both[1]), (cells[0], cells[1]), x, kernels, groups, first,
        counts_padding, rank,
    )  # fmt: skip


def _maps(
    name: str,
    given: str | tuple[Maps, ...] | Maps,
    count: int,
    rows: int,
    columns: int,
    pattern: tuple[tuple[int, ...], ...],
    generator: random.Random,
) -> Maps:
    """So many maps of a size: made up, parsed, or as given; whole numbers become fractions."""
    if given == "deck":
        return tuple(grid(pattern, rows, columns, turn) for turn in range(count))
    if given == "random":
        return tuple(random_grid(rows, columns, generator) for _ in range(count))
    found = parse(given) if isinstance(given, str) and given[:1] not in "dr" else given
    if isinstance(found, str):
        raise InputError(
            f"{name} must be made up by a known name, or numbers",
            repr(found[:40]),
            f'known: {", ".join(SOURCES)}; or write "1,2;3,4"',
        )
    flat = _flat(found)
    if len(flat) != count or any(_shape(m) != (rows, columns) for m in flat):
        shapes = ", ".join(f"{r}x{c}" for r, c in sorted({_shape(m) for m in flat}))
        raise InputError(
            f"the {name} must be {count} of {rows}x{columns} numbers",
            f"{len(flat)} of {shapes}",
            "separate cells by commas, rows by semicolons and maps by |",
        )
    return flat


def _flat(found: object) -> Maps:
    """Maps from maps, or from kernels of maps; every number an integer or a fraction."""
    out: list[Grid] = []
    for part in found:  # type: ignore[attr-defined]
        if part and part[0] and isinstance(part[0][0], (list, tuple)):
            out += _flat(part)
        else:
            out.append(tuple(tuple(tidy(Fraction(v)) for v in row) for row in part))
    return tuple(out)


def _shape(rows: Grid) -> tuple[int, int]:
    return len(rows), len(rows[0]) if rows else 0


def _rank(size: int | Sequence[int] | None) -> int:
    return len(size) if isinstance(size, Sequence) else 2


def _sizes(windows: Sequence[Window], size: int | Sequence[int] | None) -> tuple[int, ...]:
    if size is None:
        return tuple(_smallest(w) for w in windows)
    if isinstance(size, int):
        return (size,) * len(windows)
    if len(size) != len(windows):
        raise InputError(
            "the input needs one size an axis",
            f"{len(size)} sizes {tuple(size)} for {len(windows)} axes",
            "give the spatial sizes only, without batch and channels",
        )
    return tuple(size)


def _smallest(window: Window) -> int:
    """The smallest input on which there are three windows or more."""
    for outputs in range(3, 3 + 4 * window.input_dilation):
        found = window.inputs(outputs)
        if found:
            return found[0]
    return prod((3, window.input_dilation))
