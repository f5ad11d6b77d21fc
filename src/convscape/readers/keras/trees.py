"""Nested arguments in a Keras configuration: the tensors among them, and nodes in their place."""

from collections.abc import Mapping
from typing import Any

from convscape.arithmetic.network import Node


def histories(ends: Any) -> list[Any]:
    """[name, node, tensor] triples in any nesting of lists and dictionaries, in order."""
    if isinstance(ends, dict):
        return [h for v in ends.values() for h in histories(v)]
    if len(ends) == 3 and isinstance(ends[0], str) and isinstance(ends[1], int):
        return [ends]
    return [h for v in ends for h in histories(v)]


def history(triple: Any) -> tuple[str, int, int]:
    """Which layer, which of its calls, and which of that one's outputs a tensor is."""
    name, index, at = triple
    return str(name), int(index), int(at)


def tensors_in(tree: Any, out: list[Any]) -> None:
    """Collects the histories of the tensors in a tree of arguments."""
    if isinstance(tree, dict):
        if tree.get("class_name") == "__keras_tensor__":
            out.append(tree["config"]["keras_history"])
            return
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        for part in tree:
            tensors_in(part, out)


def filled(tree: Any, values: Mapping[tuple[str, int], list[Node]]) -> Any:
    """The arguments of a call, nodes in the place of tensors."""
    if isinstance(tree, dict):
        if tree.get("class_name") == "__keras_tensor__":
            name, index, at = history(tree["config"]["keras_history"])
            return values[name, index][at]
        return {k: filled(v, values) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [filled(v, values) for v in tree]
    return tree


def nodes_in(tree: Any, out: list[Node]) -> None:
    """Collects the nodes in a tree of arguments."""
    if isinstance(tree, Node):
        out.append(tree)
    elif isinstance(tree, dict):
        nodes_in(list(tree.values()), out)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            nodes_in(part, out)


def first_line(error: BaseException) -> str:
    """The first line of a message, cut to a length that is read."""
    text = str(error).strip().splitlines()
    return (text[0] if text else "no message")[:160]
