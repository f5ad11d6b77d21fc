"""Findings on batch normalization: what stands before it, and its settings."""

from collections.abc import Iterator
from math import prod

from convscape.arithmetic.findings.rule import Finding, consumers
from convscape.arithmetic.network import Network, Node


def bias(network: Network) -> Iterator[Finding]:
    """CS301: batch normalization subtracts the mean, and with it any bias right before it."""
    readers = consumers(network)
    for node in network.nodes:
        if node.op not in ("conv", "conv_transpose", "dense") or not node.settings.get("bias"):
            continue
        after = readers[node.index]
        plain = node.settings.get("activation", "identity") == "identity"
        if plain and after and all(r.op == "batch_norm" for r in after):
            shape = node.shape or ()
            count = node.geometry.out_channels if node.geometry else shape[-1]
            yield Finding(
                "CS301", "bias-before-norm", node.name,
                f"{after[0].name} subtracts the mean right after it, and with it these {count} "
                "biases",
                "use_bias=False (Keras), bias=False (PyTorch)", node.index,
            )  # fmt: skip


def dropout(network: Network) -> Iterator[Finding]:
    """CS302: dropout changes the variance in training only; the running variance is then wrong."""
    readers = consumers(network)
    for node in network.nodes:
        rate = node.settings.get("rate")
        if node.op != "dropout" or not rate or node.settings.get("drops") == "samples":
            continue
        norm = _next_norm(node, readers)
        if norm is not None:
            yield Finding(
                "CS302", "dropout-before-norm", node.name,
                f"dropout {rate} comes before {norm.name}, whose running variance is learnt with "
                "dropout and used without",
                "move dropout behind the last batch normalization", node.index,
            )  # fmt: skip


def _next_norm(node: Node, readers: list[list[Node]]) -> Node | None:
    """The first batch normalization behind a node that no other normalization comes before."""
    seen, queue = {node.index}, [node]
    while queue:
        for after in readers[queue.pop(0).index]:
            if after.op == "batch_norm":
                return after
            if after.index not in seen and not after.op.endswith("_norm"):
                seen.add(after.index)
                queue.append(after)
    return None


def single_value(network: Network) -> Iterator[Finding]:
    """CS303: on a map of one cell, one sample leaves a single value, whose variance is 0."""
    for node in network.nodes:
        if node.op != "batch_norm" or node.shape is None or len(node.shape) < 3:
            continue
        axis = node.settings.get("axis", 1)
        values = prod(n for a, n in enumerate(node.shape) if a != axis)
        if values == 1:
            yield Finding(
                "CS303", "single-value-norm", node.name,
                "each channel is normalized over 1 value a sample: with a batch of 1 the output "
                "is the shift alone, with a small batch the statistics are noise",
                "use layer or group normalization here, or no normalization", node.index,
            )  # fmt: skip


def momentum(network: Network) -> Iterator[Finding]:
    """CS304: Keras's momentum is the share of the old value, PyTorch's that of the new one."""
    for node in network.nodes:
        value = node.settings.get("momentum")
        dialect = node.settings.get("dialect")
        if node.op != "batch_norm" or not isinstance(value, (int, float)):
            continue
        new = value if dialect == "torch" else 1 - value
        if new > 0.5:
            yield Finding(
                "CS304", "foreign-momentum", node.name,
                f"momentum={value:g} keeps {_percent(1 - new)} of the old running statistics at "
                "each step, so they follow the last batches only",
                f"momentum={1 - value:g}, if the number was meant in the other framework's way",
                node.index,
            )  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
