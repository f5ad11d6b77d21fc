"""A traced network as the explorer's page reads it: layers, fields, findings, and what opens."""

from typing import Any

from convscape.arithmetic.findings import check
from convscape.arithmetic.network import Network, Node
from convscape.arithmetic.summary import as_dict
from convscape.arithmetic.window import Window

LARGEST = {"kernel": 16, "stride": 16, "dilation": 18, "padding": 18}
"""What the page can be set to; `BOUNDS` of settings.js."""

MOST_INPUT = 32
_OPERATIONS = {
    "conv": "conv",
    "conv_transpose": "transposed",
    "max_pool": "max_pool",
    "avg_pool": "avg_pool",
}


def describe(network: Network) -> dict[str, Any]:
    """What `convscape trace` and `convscape check` say about a network, for the page.

    Args:
        network: A traced network.

    Returns:
        Plain data: `summary.as_dict` with `findings`, and for every layer `open`: the settings
        that draw it and notes on what they leave out, or None where it cannot be drawn.

    Example:
        >>> from convscape.arithmetic.builder import Builder
        >>> b = Builder("net")
        >>> x = b.input("x", (1, 1, 64))
        >>> y = b.pool("pool", "max_pool", x, (Window(2, stride=2),), axes=(2,))
        >>> describe(b.network([y]))["layers"][0]["open"]["settings"]["input"]
        [12]
    """
    found = as_dict(network)
    for entry, node in zip(found["layers"], network.layers, strict=True):
        entry["open"] = _opened(network, node)
    found["findings"] = [
        {"code": f.code, "name": f.name, "layer": f.layer, "message": f.message, "fix": f.fix}
        for f in check(network)
    ]
    return found


def _opened(network: Network, node: Node) -> dict[str, Any] | None:
    """Settings that draw a layer with its own windows, on as much of its input as fits."""
    operation = _OPERATIONS.get(node.op)
    if operation is None or node.geometry is None or node.problem or not node.inputs:
        return None
    shape = network.nodes[node.inputs[0]].shape
    windows = node.geometry.windows
    if shape is None or not 1 <= len(windows) <= 2:
        return None
    sizes = [shape[axis] for axis in node.axes]
    layers = [_settings(operation, w) for w in windows]
    if any(layer is None for layer in layers):
        return None
    axes = [layer for layer in layers if layer is not None]
    drawn = [_cut(w, n) for w, n in zip(windows, sizes, strict=True)]
    notes = []
    if drawn != sizes:
        notes.append(f"Drawn on {_by(drawn)} of its {_by(sizes)} cells, the borders as they are.")
    geometry = node.geometry
    if max(geometry.in_channels, geometry.out_channels) > 1:
        notes.append(
            f"One channel of {geometry.in_channels} in and one of {geometry.out_channels} out."
        )
    if operation == "avg_pool" and any(any(w.padding) for w in windows):
        notes.append("A trace does not say what its average divides by: real cells are counted.")
    settings = {
        "operation": operation,
        "rank": len(windows),
        "input": drawn,
        **{name: [axis[name] for axis in axes] for name in axes[0]},
        "ceil_mode": False,
        "count_include_pad": False,
        "in_channels": 1,
        "out_channels": 1,
        "groups": 1,
    }
    return {"settings": settings, "notes": notes}


def _settings(operation: str, w: Window) -> dict[str, Any] | None:
    """One axis as the page is set: of a transposed convolution, the numbers of what it transposes.

    None where the page cannot be set so.
    """
    low, high = w.padding
    stride, extra = w.stride, 0
    if operation == "transposed":
        if w.stride != 1:
            return None
        stride = w.input_dilation
        low, high = w.extent - 1 - low, w.extent - 1 - high
        if high < 0 or high < low:  # cells at the end are extra ones
            extra = low - high if 0 < low - high < max(stride, w.dilation) else max(0, -high)
            high += extra
    elif w.input_dilation != 1:
        return None
    axis = {
        "kernel": w.kernel,
        "stride": stride,
        "dilation": w.dilation,
        "padding": [low, high],
        "output_padding": extra,
    }
    ends = {"kernel": w.kernel, "stride": stride, "dilation": w.dilation, "padding": max(low, high)}
    fits = all(ends[name] <= LARGEST[name] for name in LARGEST) and min(low, high) >= 0
    return axis if fits and extra < max(stride, w.dilation) else None


def _cut(w: Window, n: int) -> int:
    """A smaller input with the same border: equal modulo the stride, with a few windows on it."""
    most = min(MOST_INPUT, max(12, 2 * w.extent + 2 * w.stride))
    if w.input_dilation > 1:
        most = max(1, min(12, 48 // w.input_dilation))
    if n <= most:
        return n
    cut = most - (most - n) % w.stride
    return cut if w.output(cut) else most


def _by(sizes: list[int]) -> str:
    return "×".join(map(str, sizes))
