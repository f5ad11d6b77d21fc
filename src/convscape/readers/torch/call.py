"""What a rule for a PyTorch function is given, and helpers that the rules share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import per_axis
from convscape.arithmetic.network import Node, Weight

Ints = int | Sequence[int]


@dataclass(slots=True)
class Call:
    """One call: where its node goes, and under which name.

    Args:
        builder: Where the node goes.
        name: The node's name.
        inplace: Whether the result overwrites the first input.
        buffers: Weights that the layer stores beside those it is called with.
    """

    builder: Builder
    name: str
    inplace: bool = False
    buffers: tuple[Weight, ...] = ()

    def node(self, x: Any) -> Node:
        """A tensor as a node; a weight that is used as one becomes a constant."""
        if isinstance(x, Node):
            return x
        if isinstance(x, Weight):
            return self.builder.constant(self.name, x.shape, [x], x.dtype)
        raise InputError("the operation needs a tensor", f"{type(x).__name__}", "check the model")


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a node or a weight."""
    shape = x.shape if isinstance(x, (Node, Weight)) else ()
    if shape is None:
        raise InputError("the input's shape must be known", f"{x.name}", "see there")
    return tuple(shape)


def weights_among(*given: Any) -> list[Weight]:
    """The weights among some arguments."""
    return [w for w in given if isinstance(w, Weight)]


def spatial_axes(rank: int) -> tuple[int, ...]:
    """The spatial axes, behind batch and channels."""
    return tuple(range(2, 2 + rank))


def each_axis(value: Ints, rank: int) -> tuple[int, ...]:
    """One value an axis; a sequence of one counts for all."""
    if isinstance(value, Sequence) and len(value) == 1:
        value = value[0]
    return per_axis("setting", value, rank)


def under_names(names: str, rule: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """One rule under several names."""
    return dict.fromkeys(names.split(), rule)


def by_rank(name: str, rule: Callable[[int], Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """A rule for one, two and three axes, under the names name1d, name2d and name3d."""
    return {f"{name}{rank}d": rule(rank) for rank in (1, 2, 3)}
