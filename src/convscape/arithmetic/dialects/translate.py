"""The same layer written for another framework, window by window.

Two layers are the same when every output cell reads the same input cells (and an average divides
by the same number). Where a framework cannot say that with its own padding, an explicit padding
goes before the layer, or a cropping after it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from convscape.arithmetic.average import divisors
from convscape.arithmetic.dialects.layer import Layer
from convscape.arithmetic.dialects.rules import dialect_named
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import Padding
from convscape.arithmetic.window import Window

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Translation:
    """A layer for another framework with what has to stand around it.

    Args:
        source: The layer as it was written.
        spatial: Input cells of each axis; the translation holds for these.
        layer: The layer in the target's spelling.
        pad: (low, high) cells to add to each axis before the layer, negative to crop: zeros, or
            -inf before max pooling.
        crop: (low, high) cells to cut from each axis after the layer.
        counted: Of an average: the (low, high) padding of each axis that its divisor counts, when
            the layer's own divisor would be wrong; then average(pad(x)) / average(mask), the mask
            being 1 on counted cells, is right. None when the layer's own divisor is right.
    """

    source: Layer
    spatial: tuple[int, ...]
    layer: Layer
    pad: Pairs
    crop: Pairs
    counted: Pairs | None = None

    @property
    def exact(self) -> bool:
        """Whether the layer alone is the same, with nothing around it."""
        return not any(map(any, self.pad + self.crop)) and self.counted is None

    @property
    def uncounted(self) -> Pairs:
        """Of `pad`, what lies beyond the counted padding."""
        counted = self.counted or ((0, 0),) * self.layer.rank
        return tuple((p[0] - c[0], p[1] - c[1]) for p, c in zip(self.pad, counted, strict=True))

    @property
    def padded(self) -> tuple[int, ...]:
        """Input cells of the layer itself, after the explicit padding."""
        return tuple(n + sum(p) for n, p in zip(self.spatial, self.pad, strict=True))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Output cells of each axis."""
        cells = self.layer.outputs(self.padded)
        return tuple(o - sum(c) for o, c in zip(cells, self.crop, strict=True))

    @property
    def _odd_same(self) -> bool:
        named = self.layer.padding[0] == "same"
        return named and any(sum(w.padding) % 2 for w in self.layer.windows(self.padded))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know when pasting it, one sentence each."""
        source, target, notes = self.source, self.layer, list[str]()
        fill = "-inf" if source.operation == "max_pool" else "zeros"
        if any(map(any, self.pad)):
            notes.append(
                f"{source.dialect} places its windows where {target.dialect} has no padding for: "
                f"{fill} {self.pad} are added before the layer"
            )
        if any(map(any, self.crop)):
            notes.append(f"the output is cropped by {self.crop} after the layer")
        if self.counted is not None:
            notes.append("the average is divided by the average of a mask of the counted cells")
        if target.dialect == "keras" and target.operation == "avg_pool" and self._odd_same:
            notes.append(
                "Keras on torch repeats the edge cell here instead of leaving it out; on JAX and "
                "TensorFlow it does what this says"
            )
        if source.dialect != target.dialect and not source.pooling:
            notes.append(
                f"weights: {weight_layout(source)} in {source.dialect}, "
                f"{weight_layout(target)} in {target.dialect}"
            )
            if source.operation == "transposed" and "jax" in (source.dialect, target.dialect):
                notes.append(
                    "lax.conv_transpose slides the kernel reversed to all others unless "
                    "transpose_kernel=True, which the snippet sets"
                )
        return tuple(notes)


def weight_layout(layer: Layer) -> str:
    """Axes of a layer's weights in its framework.

    Example:
        >>> weight_layout(Layer.of("keras", "conv", 3, rank=2))
        '(*kernel, in / groups, out)'
    """
    last = layer.dialect in ("keras", "jax")
    if layer.operation == "transposed":
        return "(*kernel, out, in)" if last else "(in, out / groups, *kernel)"
    return "(*kernel, in / groups, out)" if last else "(out, in / groups, *kernel)"


def translate(layer: Layer, spatial: Sequence[int], to: str) -> Translation:
    """The same layer for another framework.

    Args:
        layer: The layer as it is written now.
        spatial: Input cells of each axis: where windows lie may depend on it.
        to: "keras", "torch", "onnx" or "jax".

    Returns:
        The `Translation`. It is the simplest spelling whose windows are the same.

    Raises:
        InputError: The layer does not hold as it is, or the target has no such layer at all.

    Example:
        >>> same = Layer.of("keras", "conv", (3, 3), 2, "same")
        >>> translate(same, (8, 8), "torch").pad
        ((0, 1), (0, 1))
        >>> translate(same, (7, 7), "torch").layer.padding
        (1, 1)
    """
    cells = tuple(spatial)
    target = dialect_named(to)
    if target == "convscape":
        raise InputError("a layer is translated to a framework", to, "use keras, torch, onnx, jax")
    windows = layer.windows(cells)
    nothing = ((0, 0),) * layer.rank
    if layer.dialect == target:
        return Translation(layer, cells, layer, nothing, nothing)
    last: InputError | None = None
    for spelling in _spellings(layer, windows, target):
        try:
            candidate = _spelled(layer, target, **spelling)
            if _same(layer, candidate, cells):
                return Translation(layer, cells, candidate, nothing, nothing)
        except InputError as refusal:
            last = refusal
    try:
        made = _around(layer, windows, cells, target)
        made.layer.windows(made.padded)  # the target may refuse it whatever the padding
        return made
    except InputError as refusal:
        raise refusal from last


def _spelled(layer: Layer, target: str, **changes: object) -> Layer:
    """The layer in the target's dialect with these settings, checked."""
    plain = {"ceil_mode": False, "output_padding": None, "output_size": None}
    made = replace(layer, **{"dialect": target, **plain, **changes})  # type: ignore[arg-type]
    return made.checked()


def _spellings(
    layer: Layer, windows: tuple[Window, ...], target: str
) -> Iterator[dict[str, object]]:
    """Ways the target might say it, simplest first; `_same` decides."""
    names = {"keras": ("valid", "same", "causal")}.get(target, ())
    numbers = _numbers(layer, windows, target)
    paddings: list[tuple[Padding, ...]] = [(name,) * layer.rank for name in names]
    if layer.operation == "transposed":
        if target == "keras":
            choices = product(*(range(s) for s in layer.stride))
            for extra in (None, *choices):
                for padding in paddings[:2]:
                    yield {"padding": padding, "output_padding": extra}
        elif target == "jax":
            yield {"padding": tuple(w.padding for w in windows)}
        else:
            yield numbers
        return
    rounding = (False, True) if layer.pooling and target in ("torch", "onnx") else (False,)
    dividing = (False, True) if layer.operation == "avg_pool" and target != "keras" else (False,)
    if numbers:
        paddings.append(numbers["padding"])  # type: ignore[arg-type]
    for include, up, padding in product(dividing, rounding, paddings):
        yield {"padding": padding, "ceil_mode": up, "count_include_pad": include}


def _numbers(layer: Layer, windows: tuple[Window, ...], target: str) -> dict[str, object]:
    """Padding in numbers, as the target takes it; empty where it takes none."""
    if target == "keras":
        return {}
    if layer.operation != "transposed":
        if target == "torch":
            return {"padding": tuple(w.padding[0] for w in windows)}
        return {"padding": tuple(w.padding for w in windows)}
    crops = [(w.extent - 1 - w.padding[0], w.extent - 1 - w.padding[1]) for w in windows]
    if target == "torch":
        extra = tuple(low - high for low, high in crops)
        return {"padding": tuple(low for low, _ in crops), "output_padding": extra}
    extra = tuple(max(0, -high) for _, high in crops)
    return {
        "padding": tuple((low, max(0, high)) for low, high in crops),
        "output_padding": extra if any(extra) else None,
    }


def _same(layer: Layer, other: Layer, cells: tuple[int, ...]) -> bool:
    """Whether every output cell reads the same cells, divided by the same number."""
    for a, b, n in zip(layer.windows(cells), other.windows(cells), cells, strict=True):
        if _shape(a, n) != _shape(b, n):
            return False
    if layer.operation != "avg_pool":
        return True
    return _divisors(layer, cells) == _divisors(other, cells)


def _shape(w: Window, n: int) -> tuple[int, ...]:
    """What decides which cells are read; the high padding shows in the number of windows only."""
    return (w.kernel, w.stride, w.dilation, w.input_dilation, w.padding[0], w.output(n))


def _counted(layer: Layer, cells: tuple[int, ...]) -> Pairs:
    """The padding of each axis that an average's divisor counts."""
    if not layer.count_include_pad:
        return ((0, 0),) * layer.rank
    return tuple(w.padding for w in layer.configured(cells))


def _divisors(layer: Layer, cells: tuple[int, ...]) -> list[tuple[int, ...]]:
    sums = zip(layer.windows(cells), cells, _counted(layer, cells), strict=True)
    return [divisors(w, n, counted) for w, n, counted in sums]


def _around(
    layer: Layer, windows: tuple[Window, ...], cells: tuple[int, ...], target: str
) -> Translation:
    """The layer without padding of its own, and explicit padding and cropping around it."""
    nothing = ((0, 0),) * layer.rank
    none: dict[str, object] = {
        "padding": ("valid" if target == "keras" else 0 if target != "jax" else "VALID",)
        * layer.rank
    }
    if layer.operation == "transposed":
        none["output_padding"] = None if target == "jax" else (0,) * layer.rank
        if target == "jax":
            none["padding"] = tuple((w.extent - 1,) * 2 for w in windows)
        bare = _spelled(layer, target, **none)
        pad, crop = zip(*map(_extended, windows), strict=True)
        return Translation(layer, cells, bare, pad, crop)
    bare = _spelled(layer, target, count_include_pad=target in ("torch", "jax"), **none)
    pad = tuple((w.padding[0], _needed(w, n)) for w, n in zip(windows, cells, strict=True))
    counted = None
    if layer.operation == "avg_pool":
        full = [(w.kernel,) * w.output(n) for w, n in zip(windows, cells, strict=True)]
        if _divisors(layer, cells) != full:
            counted = tuple(
                (min(c[0], p[0]), min(c[1], p[1]))
                for c, p in zip(_counted(layer, cells), pad, strict=True)
            )
    return Translation(layer, cells, bare, pad, nothing, counted)


def _needed(w: Window, n: int) -> int:
    """The high padding without what no window reads."""
    high = w.padding[1]
    return high if high <= 0 else max(0, high - w.slack(n))


def _extended(w: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding before and cropping after that give a transposed window from the full one.

    An end that has to grow gets zero cells before the layer, each worth a stride of output, and
    loses what is too much after it; so a bias reaches the new cells as well.
    """
    crops = [w.extent - 1 - p for p in w.padding]
    grown = [-(min(0, c) // w.input_dilation) for c in crops]
    cut = [c + g * w.input_dilation for c, g in zip(crops, grown, strict=True)]
    return (grown[0], grown[1]), (cut[0], cut[1])
