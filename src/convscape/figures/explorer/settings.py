"""What the explorer is set to, from a layer in this package's words; and as a link."""

from collections.abc import Mapping, Sequence
from typing import Any

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError

Settings = dict[str, Any]

MOST = {"input": 32, "kernel": 16, "stride": 16, "dilation": 18, "padding": 18, "channels": 4}
"""The largest that is drawn; `BOUNDS` of settings.js."""

_OPERATIONS = {"conv": "conv", "transposed": "transposed", "max_pool": "max", "avg_pool": "avg"}


def settings_of(layer: Layer, spatial: Sequence[int]) -> Settings:
    """The settings that draw a layer in this package's own spelling.

    Args:
        layer: A layer whose dialect is "convscape", of one or two axes.
        spatial: Input cells of each axis.

    Raises:
        InputError: It does not hold on this input, or is too large to draw; the limit is named.

    Example:
        >>> layer = Layer.of("convscape", "conv", (3, 3), 2, 1)
        >>> link_of(settings_of(layer, (5, 5)))
        'i=5&k=3&s=2&p=1'
    """
    if layer.rank not in (1, 2):
        raise InputError(
            "the explorer draws one axis or two", f"{layer.rank} axes", "leave the others out"
        )
    outputs = layer.outputs(spatial)
    named = isinstance(layer.padding[0], str) and len(set(layer.padding)) == 1
    paddings = [_ends(p, w.padding) for p, w in zip(layer.padding, layer.windows(spatial),
                                                     strict=True)]  # fmt: skip
    found = {
        "input": max(spatial),
        "kernel": max(layer.kernel),
        "stride": max(layer.stride),
        "dilation": max(layer.dilation),
        "padding": 0 if named else max(map(max, paddings)),
        "channels": max(layer.in_channels, layer.out_channels),
    }
    for name, value in found.items():
        if value > MOST[name]:
            raise InputError(
                f"{name} is drawn up to {MOST[name]}", f"{value}", "explore a smaller one like it"
            )
    if max(outputs) > 64:
        raise InputError("an output is drawn up to 64 cells", f"{outputs}", "use a smaller input")
    return {
        "operation": layer.operation,
        "rank": layer.rank,
        "input": list(spatial),
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "dilation": list(layer.dilation),
        "padding": layer.padding[0] if named else paddings,
        "output_padding": list(layer.output_padding or [0] * layer.rank),
        "ceil_mode": layer.ceil_mode,
        "count_include_pad": layer.count_include_pad,
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "groups": layer.groups,
    }


def layer_of(settings: Mapping[str, Any]) -> Layer:
    """The layer that settings describe: the inverse of `settings_of`.

    Raises:
        InputError: They describe none.
    """
    pooling = str(settings["operation"]).endswith("pool")
    padding = settings["padding"]
    transposed = settings["operation"] == "transposed"
    return Layer.of(
        "convscape",
        settings["operation"],
        tuple(settings["kernel"]),
        tuple(settings["stride"]),
        padding if isinstance(padding, str) else tuple(map(tuple, padding)),
        tuple(settings["dilation"]),
        ceil_mode=pooling and settings["ceil_mode"],
        output_padding=tuple(settings["output_padding"]) if transposed else None,
        count_include_pad=settings["operation"] == "avg_pool" and settings["count_include_pad"],
        in_channels=settings["in_channels"],
        out_channels=settings["in_channels"] if pooling else settings["out_channels"],
        groups=1 if pooling else settings["groups"],
    )


def link_of(settings: Mapping[str, Any]) -> str:
    """The settings as the part of a link after #, as settings.js writes it."""
    parts = [
        ("op", _OPERATIONS[settings["operation"]], "conv"),
        ("rank", settings["rank"], 2),
        ("i", _joined(settings["input"]), None),
        ("k", _joined(settings["kernel"]), None),
        ("s", _joined(settings["stride"]), None),
        ("p", _padding(settings["padding"]), None),
        ("d", _joined(settings["dilation"]), "1"),
        ("a", _joined(settings["output_padding"]), "0"),
        ("ceil", int(settings["ceil_mode"]), 0),
        ("include", int(settings["count_include_pad"]), 0),
        ("c", settings["in_channels"], 1),
        ("f", settings["out_channels"], 1),
        ("g", settings["groups"], 1),
    ]
    return "&".join(f"{key}={value}" for key, value, plain in parts if value != plain)


def _ends(padding: object, resolved: tuple[int, int]) -> list[int]:
    if isinstance(padding, int):
        return [padding, padding]
    if isinstance(padding, tuple):
        return [int(p) for p in padding]
    return list(resolved)


def _padding(padding: str | Sequence[Sequence[int]]) -> str:
    if isinstance(padding, str):
        return padding
    return _joined([str(p[0]) if p[0] == p[1] else f"{p[0]},{p[1]}" for p in padding])


def _joined(values: Sequence[object]) -> str:
    texts = [str(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
