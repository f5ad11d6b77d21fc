"""Findings on a network and the one that it was ported from."""

from collections.abc import Iterator

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.findings.rule import Finding
from convscape.arithmetic.network import Network, Node


def ported(network: Network, original: Network) -> Iterator[Finding]:
    """CS305: paired in order, batch normalizations must average and divide by the same numbers.

    Raises:
        InputError: The networks have different numbers of them.
    """
    here, there = _norms(network), _norms(original)
    if len(here) != len(there):
        raise InputError(
            "a ported network has as many batch normalizations as its original",
            f"{len(here)} in {network.name}, {len(there)} in {original.name}",
            "compare models of the same architecture",
        )
    for node, other in zip(here, there, strict=True):
        apart, fix = [], []
        epsilon, wanted = _number(node, "epsilon"), _number(other, "epsilon")
        if epsilon != wanted:
            apart.append(f"epsilon {epsilon:g} against {wanted:g}")
            fix.append(f"epsilon {wanted:g}")
        new, meant = _new(node), _new(other)
        if round(new - meant, 9):
            apart.append(f"{new:.3g} of each batch in the running statistics against {meant:.3g}")
            spelled = meant if node.settings.get("dialect") == "torch" else 1 - meant
            fix.append(f"momentum {spelled:.6g}")
        if apart:
            yield Finding(
                "CS305", "ported-norm", node.name,
                f"differs from {other.name} in {original.name}: {'; '.join(apart)}",
                f"set {' and '.join(fix)}", node.index,
            )  # fmt: skip


def _norms(network: Network) -> list[Node]:
    return [n for n in network.nodes if n.op == "batch_norm"]


def _number(node: Node, key: str) -> float:
    value = node.settings.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _new(node: Node) -> float:
    """The share of the new batch in the running statistics, whichever way momentum is meant."""
    value = _number(node, "momentum")
    return value if node.settings.get("dialect") == "torch" else 1 - value
