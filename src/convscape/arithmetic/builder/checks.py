"""Checks and shapes that the operations share."""

from collections.abc import Sequence

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node

MAX_SPANS = 1 << 20
"""Most cells of an axis whose spans are listed one by one."""

MAX_AXIS = 1 << 40
"""Largest tensor axis that is believed; beyond it a model is taken for broken."""

Shape = tuple[int, ...]


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that these broadcast to.

    Raises:
        InputError: They do not.

    Example:
        >>> broadcast([(4, 1, 3), (5, 1)])
        (4, 5, 3)
    """
    rank = max(map(len, shapes), default=0)
    out = []
    for axis in range(-rank, 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            raise InputError(
                "tensors that meet cell by cell must have equal axes, or axes of 1 cell",
                " and ".join(map(str, shapes)),
                "check the input shape",
            )
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def shape_of(x: Node) -> Shape:
    """The shape of a tensor whose shape is known."""
    if x.shape is None:
        raise InputError("the input's shape must be known", f"{x.name}: {x.problem}", "see there")
    return x.shape


def axes_exist(shape: Shape, axes: Sequence[int]) -> None:
    """Refuses axes that a shape does not have."""
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise InputError(
            f"the tensor needs axes {', '.join(map(str, axes))}", f"shape {shape}",
            "check the input shape",
        )  # fmt: skip


def listable(cells: int) -> bool:
    """Refuses axes too long to be listed cell by cell."""
    if cells > MAX_SPANS:
        raise InputError(
            f"an axis read unevenly has at most {MAX_SPANS} cells", f"{cells}",
            "use a smaller input",
        )  # fmt: skip
    return True
