"""What a rule for an ONNX operator is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight


@dataclass(frozen=True, slots=True)
class Numbers:
    """A small constant whose numbers are known: shapes, axes, pads, scales.

    Args:
        name: Its name in the graph.
        shape: Its shape, () or (n,).
        values: The numbers.
        dtype: Their type.
        stored: Whether it is one of the file's initializers, which may be parameters.
    """

    name: str
    shape: tuple[int, ...]
    values: list[Any]
    dtype: str = "int64"
    stored: bool = False

    @property
    def weight(self) -> Weight:
        """The same as a weight; a single number, or one in the graph itself, is a setting."""
        parameter = self.stored and self.shape != () and self.dtype.startswith("float")
        return Weight(self.name, self.shape, parameter, not parameter, self.dtype)


@dataclass(slots=True)
class Call:
    """One operator.

    Args:
        builder: Where the node goes.
        name: Its name.
        attributes: Its attributes.
        args: Its inputs: nodes, weights, numbers, or None where left out.
        opset: The version of the operators.
        outputs: How many outputs it has.
    """

    builder: Builder
    name: str
    attributes: Mapping[str, Any]
    args: list[Any]
    opset: int
    outputs: int

    @property
    def x(self) -> Node:
        """Its first input, as a node."""
        return self.node(self.args[0])

    def node(self, value: Any) -> Node:
        """A node; a weight that is computed with becomes a constant."""
        if isinstance(value, Node):
            return value
        if isinstance(value, Numbers):
            value = value.weight
        if isinstance(value, Weight):
            return self.builder.constant(value.key, value.shape, [value], value.dtype)
        raise InputError("the operator needs a tensor", f"{value}", "export the file again")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its first input."""
        return shape_of(self.args[0])

    def weight(self, at: int, buffer: bool = False) -> list[Weight]:
        """The weight among its inputs at a place, if there is one."""
        value = self.args[at] if at < len(self.args) else None
        if isinstance(value, Numbers):
            value = value.weight
        if not isinstance(value, Weight):
            return []
        return [Weight(value.key, value.shape, not buffer, buffer or value.buffer, value.dtype)]

    def given(self, at: int) -> bool:
        """Whether an input at a place is there."""
        return at < len(self.args) and self.args[at] is not None

    def numbers(self, at: int, key: str = "") -> list[Any] | None:
        """Numbers given as an input, or in older versions as an attribute; None if not given."""
        if self.given(at):
            value = self.args[at]
            if not isinstance(value, Numbers):
                raise InputError(
                    f"{key or 'an input'} must be a constant to be followed",
                    "a computed tensor", "export with fixed sizes",
                )  # fmt: skip
            return value.values
        found = self.attributes.get(key)
        return None if found is None else list(found) if isinstance(found, Sequence) else [found]


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of a node, weight or constant."""
    shape = getattr(value, "shape", None)
    if shape is None:
        raise InputError("the input's shape must be known", f"{value}", "see there")
    return tuple(shape)


Rule = Callable[[Call], Any]


def text_of(value: Any) -> str:
    """A string attribute, which the file holds as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
