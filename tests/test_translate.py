"""Translated layers give identical values: every snippet is executed by its framework."""

# mypy: disable-error-code="no-untyped-call,no-any-return"

import contextlib
import io
import string
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convscape.arithmetic import InputError
from convscape.arithmetic.dialects import DIALECTS, Layer
from convscape.arithmetic.dialects.translate import Translation, translate
from convscape.arithmetic.dialects.write import code
from tests.crosscheck.settings import contradiction, draw

Array = npt.NDArray[Any]


def random_layer(dialect: str, random: Random) -> tuple[Layer, tuple[int, ...]]:
    """A valid layer of one or two different axes, with channels and groups, and an input size."""
    while True:
        rank = random.choice([1, 2])
        first = draw(dialect, random)
        axes = [first]
        while len(axes) < rank:
            other = draw(dialect, random)
            if (other.op, isinstance(other.padding, str)) != (
                first.op,
                isinstance(first.padding, str),
            ):
                continue
            name = first.padding if isinstance(first.padding, str) else other.padding
            axes.append(
                replace(other, padding=name, ceil_mode=first.ceil_mode,
                        count_include_pad=first.count_include_pad)
            )  # fmt: skip
        if any(contradiction(s, "torch") for s in axes):
            continue
        groups = random.choice([1, 2]) if first.op == "conv" else 1
        extras = [s.output_padding for s in axes]
        sizes = [s.output_size for s in axes]
        spatial = tuple(s.n for s in axes)
        with contextlib.suppress(InputError):
            layer = Layer.of(
                dialect, first.op,
                [s.kernel for s in axes], [s.stride for s in axes], [s.padding for s in axes],
                [s.dilation for s in axes], ceil_mode=first.ceil_mode,
                output_padding=None if None in extras else extras,  # type: ignore[arg-type]
                output_size=None if None in sizes else sizes,  # type: ignore[arg-type]
                count_include_pad=first.count_include_pad,
                in_channels=2 * groups, groups=groups, bias=random.random() < 0.7,
                out_channels=2 * groups if first.op.endswith("pool") else 3 * groups,
            )  # fmt: skip
            layer.windows(spatial)
            return layer, spatial


def by_taps(layer: Layer, spatial: tuple[int, ...], x: Array, w: Array, b: Array) -> Array:
    """The layer's output by the taps of its windows alone; NaN where nothing real is seen.

    Args:
        layer: The layer.
        spatial: Input cells of each axis.
        x: (C, *spatial).
        w: (out, in / groups, *kernel), or (in, out, *kernel) when transposed.
        b: (out,).
    """
    windows = layer.windows(spatial)
    patches, seen = x, np.ones((1, *spatial))
    for axis, (win, n) in enumerate(zip(windows, spatial, strict=True)):
        onehot = np.zeros((win.output(n), win.kernel, n))
        for o in range(win.output(n)):
            for k, cell in enumerate(win.taps(o, n)):
                if cell is not None:
                    onehot[o, k, cell] = 1
        # The axis becomes two: output cells here, and kernel cells at the end.
        patches = np.moveaxis(np.tensordot(patches, onehot, (axis + 1, 2)), -2, axis + 1)
        seen = np.moveaxis(np.tensordot(seen, onehot, (axis + 1, 2)), -2, axis + 1)
        # tensordot appends (o, k); o has moved back to its place and k stays last.
    kernel_axes = tuple(range(-layer.rank, 0))
    if layer.operation == "max_pool":
        best = np.where(seen > 0, patches, -np.inf).max(kernel_axes)
        return np.where(np.isfinite(best), best, np.nan)
    if layer.operation == "avg_pool":
        divisor = np.ones(())
        for win, set_up, n in zip(windows, layer.configured(spatial), spatial, strict=True):
            low, high = set_up.padding if layer.count_include_pad else (0, 0)
            counts = [
                sum(-low <= win.start(o) + k * win.dilation < n + high for k in range(win.kernel))
                for o in range(win.output(n))
            ]
            divisor = np.multiply.outer(divisor, np.array(counts, float))
        with np.errstate(invalid="ignore", divide="ignore"):
            real = seen.sum(kernel_axes) > 0
            return np.where(real, patches.sum(kernel_axes) / divisor, np.nan)
    if layer.operation == "transposed":
        w = np.flip(np.swapaxes(w, 0, 1), kernel_axes)
    letters = string.ascii_lowercase[: layer.rank]
    outputs = string.ascii_uppercase[: layer.rank]
    rule = f"z{outputs}{letters},oz{letters}->o{outputs}"
    per, shares = x.shape[0] // layer.groups, np.split(w, layer.groups)
    y = np.concatenate(
        [np.einsum(rule, patches[g * per : (g + 1) * per], share) for g, share in enumerate(shares)]
    )
    return y + b.reshape(-1, *[1] * layer.rank) if layer.bias else y


def execute(text: str) -> tuple[dict[str, Any], str]:
    """Run a snippet as a user would; its names and what it printed."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, "<snippet>", "exec"), names)
    return names, printed.getvalue().strip()


def apply(dialect: str, names: dict[str, Any], x: Array, w: Array, b: Array) -> Array:
    """Call a snippet's layer with our input and weights; (C, *outputs)."""
    layer: Any = names["layer"]
    rank = x.ndim - 1
    last = [*range(2, rank + 2), 1, 0]  # channels to the end, kernel axes to the front
    if dialect == "torch":
        import torch

        with torch.no_grad():
            for module in layer.modules() if hasattr(layer, "modules") else ():
                if hasattr(module, "weight"):
                    module.weight.copy_(torch.from_numpy(w))
                    if module.bias is not None:
                        module.bias.copy_(torch.from_numpy(b))
            return layer(torch.from_numpy(x)[None])[0].numpy()
    if dialect == "onnx":
        feed = {"x": x[None], "kernel": w, "bias": b}
        return names["layer"]({name: feed[name] for name in names["shapes"]})[0]
    batch = np.moveaxis(x, 0, -1)[None]
    if dialect == "jax":
        weights = [np.transpose(w, last), b] if "bias" in names else [np.transpose(w, last)]
        return np.moveaxis(
            np.asarray(layer(batch, *weights) if "kernel" in names else layer(batch))[0], -1, 0
        )
    import keras

    for inner in getattr(layer, "layers", []):
        if inner.weights:
            inner.set_weights([np.transpose(w, last), b][: len(inner.weights)])
    return np.moveaxis(keras.ops.convert_to_numpy(layer(batch))[0], -1, 0)


def check_values(t: Translation, random: Random) -> None:
    source = t.source
    rng = np.random.default_rng(random.randrange(2**32))
    count = source.in_channels * int(np.prod(t.spatial))
    cells = rng.permutation(count).astype(np.float32) - count // 2
    x = cells.reshape(source.in_channels, *t.spatial)
    inputs, outputs = source.in_channels, source.out_channels
    leading = (inputs, outputs) if source.operation == "transposed" else (
        outputs, inputs // source.groups)  # fmt: skip
    w = rng.integers(1, 9, (*leading, *source.kernel)).astype(np.float32)
    b = rng.integers(1, 9, outputs).astype(np.float32)
    expected = by_taps(source, t.spatial, x, w, b)
    text = code(t)
    names, printed = execute(text)
    assert printed == str(t.outputs), text
    got = apply(t.layer.dialect, names, x, w, b)
    assert got.shape == expected.shape, text
    known = ~np.isnan(expected)
    np.testing.assert_allclose(got[known], expected[known], rtol=1e-5, atol=1e-3, err_msg=text)


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("dialect", [*DIALECTS, "convscape"])
def test_a_translated_layer_gives_the_same_values(dialect: str, to: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, to))
    random = Random(f"{dialect}{to}")
    done = refused = around = 0
    while done < 6:
        layer, spatial = random_layer("torch" if dialect == "convscape" else dialect, random)
        layer = replace(layer, dialect=dialect)
        try:
            t = translate(layer, spatial, to)
        except InputError:
            refused += 1
            continue
        if any("Keras on torch repeats" in note for note in t.notes):
            continue  # a fault of that backend, tested on its own in test_dialects.py
        assert t.outputs == layer.outputs(spatial)
        check_values(t, random)
        done += 1
        around += not t.exact
    assert refused < 3 * done
    assert dialect != to or not around, "a layer's own framework needs nothing around it"


def test_the_same_layer_is_placed_differently_and_padded_explicitly() -> None:
    """k=3 s=2 same on an even input: (0, 1) in Keras, (1, 0) with PyTorch's padding=1."""
    same = Layer.of("keras", "conv", (3, 3), 2, "same", in_channels=3, out_channels=8)
    even = translate(same, (8, 8), "torch")
    assert (even.pad, even.layer.padding) == (((0, 1), (0, 1)), (0, 0))
    assert any("before the layer" in note for note in even.notes)
    odd = translate(same, (7, 7), "torch")
    assert odd.exact
    assert odd.layer.padding == (1, 1)
    back = Layer.of("torch", "conv", (3, 3), 2, 1, in_channels=3, out_channels=8)
    assert translate(back, (8, 8), "keras").pad == ((1, 0), (1, 0))
    assert translate(back, (8, 8), "onnx").exact
    assert translate(back, (8, 8), "jax").exact


def test_transposed_layers_that_differ_by_one_cell() -> None:
    """k=3 s=2 o=2i: Keras crops (0, 1), PyTorch with padding=output_padding=1 crops (1, 0)."""
    keras = Layer.of("keras", "transposed", (3,), 2, "same", in_channels=2)
    t = translate(keras, (3,), "torch")
    assert t.crop == ((0, 1),)
    torch = Layer.of("torch", "transposed", (3,), 2, 1, output_padding=1, in_channels=2)
    assert translate(torch, (3,), "keras").crop == ((1, 0),)
    check_values(t, Random(0))


def test_an_average_that_counts_padding_is_translated_by_a_mask() -> None:
    pool = Layer.of("torch", "avg_pool", (3,), 2, 1, in_channels=2, out_channels=2)
    plain = translate(pool, (7,), "keras")
    assert plain.pad == ((1, 1),)
    assert plain.counted is None, "every window divides by its kernel, as a padded layer does"
    real = translate(replace(pool, count_include_pad=False), (8,), "keras")
    assert real.counted == ((0, 0),)
    assert translate(replace(pool, count_include_pad=False), (7,), "keras").exact
    check_values(real, Random(1))


def test_names_stay_where_they_mean_the_same() -> None:
    keras = Layer.of("keras", "conv", (3,), 1, "causal", 2, in_channels=2)
    assert translate(keras, (9,), "torch").pad == ((4, 0),)
    torch = Layer.of("torch", "conv", (3, 3), 1, "same", in_channels=2)
    assert translate(torch, (9, 9), "keras").layer.padding == ("same", "same")


def test_what_a_framework_cannot_do_is_refused() -> None:
    dilated = Layer.of("torch", "conv", (3, 3), 2, 2, 2)
    with pytest.raises(InputError, match="strides above 1 together with dilation"):
        translate(dilated, (9, 9), "keras")
    grouped = Layer.of("torch", "transposed", (3,), in_channels=4, groups=2)
    for to in ("keras", "jax"):
        with pytest.raises(InputError, match="group"):
            translate(grouped, (9,), to)
    with pytest.raises(InputError, match="known dialects"):
        translate(dilated, (9, 9), "caffe")
    with pytest.raises(InputError, match="must fit the padded input"):
        translate(Layer.of("torch", "conv", (7,)), (3,), "jax")
    with pytest.raises(InputError, match="a framework and an input size"):
        code(dilated)
