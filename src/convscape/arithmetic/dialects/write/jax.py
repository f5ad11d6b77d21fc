"""Snippets for JAX."""

from math import prod

from convscape.arithmetic.dialects.translate import Translation
from convscape.arithmetic.dialects.write.keras import around

_LETTERS = {1: "H", 2: "HW", 3: "HWD"}


def write(t: Translation) -> str:
    """The snippet of one translation."""
    layer = t.layer
    shape = (1, *t.spatial, layer.in_channels)
    head = "import jax\nfrom jax import lax\nfrom jax import numpy as jnp\n\n\n"
    tail = f"\n\nx = jax.random.normal(jax.random.key(0), {shape})\n"
    if layer.pooling:
        call = "layer(x)"
        body = _pool(t)
    else:
        call = "layer(x, kernel, bias)" if layer.bias else "layer(x, kernel)"
        kernel = _kernel_shape(t)
        tail += f"kernel = jax.random.normal(jax.random.key(1), {kernel})\n"
        tail += f"bias = jnp.zeros({layer.out_channels})\n" if layer.bias else ""
        body = _convolution(t)
    return f"{head}{body}{tail}print({call}.shape[1:{layer.rank + 1}])  # {t.outputs}"


def _kernel_shape(t: Translation) -> tuple[int, ...]:
    layer = t.layer
    if layer.operation == "transposed":
        return (*layer.kernel, layer.out_channels, layer.in_channels)
    return (*layer.kernel, layer.in_channels // layer.groups, layer.out_channels)


def _padding(t: Translation) -> str:
    """The padding as lax takes it; CAUSAL is Flax's, and spelled out."""
    name = t.layer.padding[0]
    if isinstance(name, str) and name.upper() != "CAUSAL":
        return f'"{name.upper()}"'
    return str([w.padding for w in t.layer.windows(t.padded)])


def _convolution(t: Translation) -> str:
    layer = t.layer
    space = _LETTERS[layer.rank]
    layout = (f"N{space}C", f"{space}IO", f"N{space}C")
    name, strides = "conv_general_dilated", "window_strides"
    options = [f"dimension_numbers={layout}"]
    if max(layer.dilation) > 1:
        options.append(f"rhs_dilation={layer.dilation}")
    if layer.operation == "transposed":
        name, strides = "conv_transpose", "strides"
        options.append("transpose_kernel=True")
    elif layer.groups > 1:
        options.append(f"feature_group_count={layer.groups}")
    inner = "".join(
        f"        {option},\n"
        for option in (
            "x",
            "kernel",
            f"{strides}={layer.stride}",
            f"padding={_padding(t)}",
            *options,
        )
    )
    arguments, plus = ("x, kernel, bias", " + bias") if layer.bias else ("x, kernel", "")
    padded = f"    x = jnp.pad(x, {around(t.pad)})\n" if any(map(any, t.pad)) else ""
    return (
        f"def layer({arguments}):\n{padded}    y = lax.{name}(\n{inner}    )\n    return y{plus}\n"
    )


def _pool(t: Translation) -> str:
    layer = t.layer
    window, strides = (1, *layer.kernel, 1), (1, *layer.stride, 1)
    dilated = f", window_dilation={(1, *layer.dilation, 1)}" if max(layer.dilation) > 1 else ""
    padding = _padding(t)
    if padding.startswith("["):
        padding = str([*around(tuple(w.padding for w in layer.windows(t.padded)))])
    reduce = f"{window}, {strides}, {padding}{dilated})"
    if layer.operation == "max_pool":
        return f"def layer(x):\n    return lax.reduce_window(x, -jnp.inf, lax.max, {reduce}\n"
    total = f"lax.reduce_window({{}}, 0.0, lax.add, {reduce}"
    if t.counted is not None:
        return (
            "def layer(x):\n"
            f"    mask = jnp.pad(jnp.ones_like(x), {around(t.counted)}, constant_values=1.0)\n"
            f"    mask = jnp.pad(mask, {around(t.uncounted)})\n"
            f"    x = jnp.pad(x, {around(t.pad)})\n"
            f"    total = {total.format('x')}\n"
            f"    return total / {total.format('mask')}\n"
        )
    cells = str(prod(layer.kernel)) if layer.count_include_pad else total.format("jnp.ones_like(x)")
    return f"def layer(x):\n    total = {total.format('x')}\n    return total / {cells}\n"
