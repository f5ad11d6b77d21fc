"""A network as plain data for JSON, and as rows of text for a table."""

from fractions import Fraction
from typing import Any

from convscape.arithmetic.memory import memory
from convscape.arithmetic.network import Network, Node


def as_dict(network: Network) -> dict[str, Any]:
    """What `convscape trace --json` prints; docs/cli-json-networks.md describes each key."""
    return {
        "model": network.name,
        "framework": network.framework,
        "method": network.method,
        "batch": network.batch,
        "inputs": [
            {"name": n.name, "shape": list(network.shape(n) or ()), "dtype": n.dtype}
            for n in network.nodes
            if n.op == "input"
        ],
        "layers": [_layer(network, node) for node in network.layers],
        "totals": totals(network),
    }


def totals(network: Network) -> dict[str, Any]:
    """The sums over a network and its memory in bytes."""
    sums, bytes_ = network.totals, memory(network)
    return {
        "layers": sums.layers,
        "params": sums.params,
        "trainable": sums.trainable,
        "buffers": sums.buffers,
        "macs": sums.macs,
        "weight_bytes": sums.weight_bytes,
        "activation_bytes": bytes_.activations,
        "peak_bytes": bytes_.peak,
        "peak_layer": bytes_.peak_layer,
        "saved_bytes": bytes_.saved,
        "training_bytes": bytes_.training,
        "unknown": sums.unknown,
    }


def _layer(network: Network, node: Node) -> dict[str, Any]:
    shape = network.shape(node)
    entry: dict[str, Any] = {
        "name": node.name,
        "op": node.op,
        "inputs": list(dict.fromkeys(network.nodes[i].name for i in node.inputs)),
        "output_shape": None if shape is None else list(shape),
        "dtype": node.dtype,
        "params": node.params,
        "trainable": node.trainable,
        "buffers": node.buffers,
        "macs": node.macs,
        "receptive_field": list(network.receptive_field(node)),
        "local_field": list(network.local_field(node)),
        "jump": [_number(j) for j in network.jump(node)],
        "windows": None,
        "groups": None,
        "problem": node.problem or None,
    }
    if node.geometry is not None:
        entry["windows"] = [
            {
                "kernel": w.kernel,
                "stride": w.stride,
                "dilation": w.dilation,
                "input_dilation": w.input_dilation,
                "padding": list(w.padding),
            }
            for w in node.geometry.windows
        ]
        entry["groups"] = node.geometry.groups
    return entry


def rows(network: Network) -> list[tuple[str, ...]]:
    """For each layer: name, op, output shape, parameters, MACs, field, jump; as text."""
    out: list[tuple[str, ...]] = []
    for node in network.layers:
        shape = network.shape(node)
        out.append(
            (
                node.name,
                f"{node.op} ?" if node.problem else node.op,
                "?" if shape is None else times(shape) or "scalar",
                f"{node.params:,}" if node.params else "",
                f"{node.macs:,}" if node.macs else "",
                field_text(network, node),
                times([_number(j) for j in network.jump(node)], same=True),
            )
        )
    return out


def field_text(network: Network, node: Node) -> str:
    """The field as text: one number where the axes agree; `all` beside the local field."""
    told = network.told(node)
    local = times(network.local_field(node), same=True)
    if not told or not all(node.reach[s].whole for s in told):
        return local
    return f"all ({local})" if any(network.local_field(node)) else "all"


def times(values: Any, same: bool = False) -> str:
    """Numbers joined by x; a single one where `same` and they are equal; ? for None.

    Example:
        >>> times((3, 7)), times((3, 3), same=True)
        ('3x7', '3')
    """
    parts = ["?" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    if same and len(set(parts)) == 1:
        return parts[0] if parts[0] != "?" else ""
    return "x".join(parts)


def _number(value: Fraction | None) -> int | float | None:
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)
