"""Snippets for Keras 3."""

from convscape.arithmetic.dialects.translate import Pairs, Translation


def write(t: Translation) -> str:
    """The snippet of one translation."""
    layer, rank = t.layer, t.layer.rank
    stage = f"keras.layers.{_class(t)}"
    lowest = layer.operation == "max_pool" and any(p > 0 for pair in t.pad for p in pair)
    if t.counted is not None:
        body = _masked(t, stage)
    elif lowest:
        body = (
            f"pool = {stage}\n\n\ndef layer(x):\n"
            f"    return pool(keras.ops.pad(x, {around(t.pad)}, "
            'constant_values=float("-inf")))\n\n'
        )
    else:
        added = tuple((max(0, low), max(0, high)) for low, high in t.pad)
        cut = tuple((max(0, -low), max(0, -high)) for low, high in t.pad)
        stages = [*_named("Cropping", cut), *_named("ZeroPadding", added), stage]
        stages += _named("Cropping", t.crop)
        inner = "".join(f"        {s},\n" for s in stages)
        shape = (*t.spatial, layer.in_channels)
        body = f"layer = keras.Sequential(\n    [\n        keras.Input({shape}),\n{inner}    ]\n)\n"
    shape = (1, *t.spatial, layer.in_channels)
    return (
        f"import keras\n\n{body}\nx = keras.random.normal({shape})\n"
        f"print(tuple(layer(x).shape[1:{rank + 1}]))  # {t.outputs}"
    )


def around(pairs: Pairs) -> Pairs:
    """Pairs for every axis of a channels-last batch."""
    return ((0, 0), *pairs, (0, 0))


def _class(t: Translation) -> str:
    layer, rank = t.layer, t.layer.rank
    padding = str(layer.padding[0]).lower()
    options = [f"strides={layer.stride}", f'padding="{padding}"']
    if layer.pooling:
        name = "MaxPooling" if layer.operation == "max_pool" else "AveragePooling"
        return f"{name}{rank}D({', '.join([str(layer.kernel), *options])})"
    if layer.output_padding is not None:
        options.append(f"output_padding={layer.output_padding}")
    if max(layer.dilation) > 1:
        options.append(f"dilation_rate={layer.dilation}")
    if layer.groups > 1:
        options.append(f"groups={layer.groups}")
    if not layer.bias:
        options.append("use_bias=False")
    name = f"Conv{rank}D" + ("Transpose" if layer.operation == "transposed" else "")
    return f"{name}({', '.join([str(layer.out_channels), str(layer.kernel), *options])})"


def _named(kind: str, pairs: Pairs) -> list[str]:
    """A ZeroPadding or Cropping layer; nothing when there is nothing to do."""
    if not any(map(any, pairs)):
        return []
    amounts = pairs[0] if len(pairs) == 1 else pairs
    return [f"keras.layers.{kind}{len(pairs)}D({amounts})"]


def _masked(t: Translation, stage: str) -> str:
    assert t.counted is not None
    return (
        f"pool = {stage}\n\n\ndef layer(x):\n"
        f"    mask = keras.ops.pad(keras.ops.ones_like(x), {around(t.counted)}, "
        "constant_values=1.0)\n"
        f"    mask = keras.ops.pad(mask, {around(t.uncounted)})\n"
        f"    return pool(keras.ops.pad(x, {around(t.pad)})) / pool(mask)\n\n"
    )
