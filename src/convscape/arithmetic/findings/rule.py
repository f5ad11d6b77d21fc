"""What a rule and a finding are, and small helpers that the rules share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from convscape.arithmetic.network import Network, Node
from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a rule has found in one layer.

    Args:
        code: The rule's code.
        name: The rule's name.
        layer: The layer's name.
        message: What is the matter, with the numbers.
        fix: What to do about it.
        index: The layer's place in the network.
    """

    code: str
    name: str
    layer: str
    message: str
    fix: str
    index: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its code and name, what it looks for, and the function that does.

    Args:
        code: CS and three digits; the first tells the family (1 windows, 2 receptive fields,
            3 batch normalization).
        name: A word for it.
        summary: What it looks for.
        find: From a network to its findings; None where it takes two networks.
    """

    code: str
    name: str
    summary: str
    find: Callable[[Network], Iterator[Finding]] | None


def windows_of(network: Network) -> Iterator[tuple[Node, list[tuple[int, Window, int, int]]]]:
    """Each layer with windows, and for each of its axes (axis, window, input, output cells)."""
    for node in network.nodes:
        if node.geometry is None or node.problem or node.shape is None:
            continue
        shape = network.nodes[node.inputs[0]].shape
        if shape is None:
            continue
        yield (
            node,
            [
                (axis, window, shape[axis], node.shape[axis])
                for axis, window in zip(node.axes, node.geometry.windows, strict=True)
            ],
        )


def consumers(network: Network) -> list[list[Node]]:
    """For each node, the nodes that read its tensor."""
    readers: list[list[Node]] = [[] for _ in network.nodes]
    for node in network.nodes:
        for before in set(node.inputs):
            readers[before].append(node)
    return readers


def each_axis(values: Iterable[str]) -> str:
    """What holds on several axes as one text: once where they agree.

    Example:
        >>> each_axis(["(0, 1)", "(0, 1)"]), each_axis(["3", "7"])
        ('(0, 1)', '3 and 7')
    """
    return " and ".join(dict.fromkeys(values))


def listed(cells: Sequence[int]) -> str:
    """Some cells as text, the first few of them.

    Example:
        >>> listed([5]), listed([1, 3, 5, 7, 9])
        ('cell 5', 'cells 1, 3, 5, ... (5)')
    """
    if len(cells) == 1:
        return f"cell {cells[0]}"
    shown = ", ".join(map(str, cells[:3]))
    return f"cells {shown}" + (f", ... ({len(cells)})" if len(cells) > 3 else "")
