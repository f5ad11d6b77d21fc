"""Operations cell by cell, and over whole axes."""

from collections.abc import Sequence
from math import prod
from typing import Any

from convscape.arithmetic.builder.checks import axes_exist, broadcast, shape_of
from convscape.arithmetic.builder.core import Core
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.network import Node, Weight
from convscape.arithmetic.reach import Link, Map


class CellOperations(Core):
    """What keeps its axes, or reads all of them."""

    def pointwise(self, name: str, op: str, inputs: Sequence[Node | Weight], **more: Any) -> Node:
        """An operation cell by cell, with NumPy's broadcasting; weights may be among the inputs."""
        nodes = [x for x in inputs if isinstance(x, Node)]
        weights = [x for x in inputs if isinstance(x, Weight)]
        shapes = [shape_of(x) for x in nodes] + [w.shape for w in weights]
        out = broadcast(shapes)
        links: list[Link] = []
        for x in nodes:
            shape = shape_of(x)
            lead = len(out) - len(shape)
            links.append(
                tuple((lead + a, None) if n == out[lead + a] else None for a, n in enumerate(shape))
            )
        more["weights"] = (*more.get("weights", ()), *weights)
        return self.add(name, op, nodes, out, links, **more)

    def mix(self, name: str, op: str, x: Node, axes: Sequence[int], **more: Any) -> Node:
        """An operation of x's own shape that also reads all of some axes (norms, softmax)."""
        shape = shape_of(x)
        wide = {a % len(shape) for a in axes}
        same: Link = tuple((a, None) for a in range(len(shape)))
        if not any(s is not None for a in wide for s, _ in x.atoms[a]):
            return self.add(name, op, (x,), shape, (same,), **more)
        over: Link = tuple(None if a in wide else (a, None) for a in range(len(shape)))
        return self.add(name, op, (x, x), shape, (same, over), **more)

    def reduce(
        self, name: str, op: str, x: Node, axes: Sequence[int], keepdims: bool = False, **more: Any
    ) -> Node:
        """A mean, sum, maximum, ... over whole axes."""
        shape = shape_of(x)
        axes_exist(shape, axes)
        gone = {a % len(shape) for a in axes}
        out: list[int] = []
        link: list[tuple[int, Map] | None] = []
        for axis, n in enumerate(shape):
            if axis in gone:
                link.append(None)
                out.extend([1] * keepdims)
            else:
                link.append((len(out), None))
                out.append(n)
        return self.add(name, op, (x,), out, (tuple(link),), **more)

    def dense(
        self,
        name: str,
        x: Node,
        units: int,
        *,
        axis: int = -1,
        in_features: int | None = None,
        **more: Any,
    ) -> Node:
        """A matrix product with weights over one axis; MACs: output cells x input features."""
        shape = shape_of(x)
        axis %= len(shape)
        if in_features is not None and shape[axis] != in_features:
            raise InputError(
                f"the input needs the {in_features} features that the weights were made for",
                f"{shape[axis]} (shape {shape})", "check the input shape",
            )  # fmt: skip
        out = list(shape)
        out[axis] = units
        link: Link = tuple(None if a == axis else (a, None) for a in range(len(shape)))
        return self.add(name, "dense", (x,), out, (link,), macs=prod(out) * shape[axis], **more)

    def matmul(self, name: str, a: Node, b: Node, **more: Any) -> Node:
        """A matrix product of two tensors over a's last and b's second to last axis."""
        left, right = shape_of(a), shape_of(b)
        if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
            raise InputError(
                "a matrix product needs matching inner axes", f"{left} and {right}",
                "check the input shape",
            )  # fmt: skip
        lead = broadcast([left[:-2], right[:-2]])
        out = (*lead, left[-2], right[-1])
        links: list[Link] = []
        for shape, kept in ((left, -2), (right, -1)):
            front = len(out) - len(shape)
            link: list[tuple[int, Map] | None] = [
                (front + i, None) if n == out[front + i] else None for i, n in enumerate(shape[:-2])
            ]
            last = (len(out) - 2, None) if kept == -2 else (len(out) - 1, None)
            links.append((*link, *((last, None) if kept == -2 else (None, last))))
        return self.add(name, "matmul", (a, b), out, links, macs=prod(out) * left[-1], **more)

    def attention(self, name: str, q: Node, k: Node, v: Node, **more: Any) -> Node:
        """Scaled dot-product attention over the second to last axis; all of k and v is read."""
        shape, keys, values = shape_of(q), shape_of(k), shape_of(v)
        if len(shape) < 2 or shape[-1] != keys[-1] or keys[-2] != values[-2]:
            raise InputError(
                "attention needs queries and keys of one width, and a value for each key",
                f"{shape}, {keys}, {values}", "check the input shape",
            )  # fmt: skip
        out = (*shape[:-1], values[-1])
        last = len(shape) - 1
        own: Link = (*((a, None) for a in range(last)), None)
        rows: list[tuple[int, Map] | None] = [
            (a, None) if n == out[a] else None for a, n in enumerate(keys[:-2])
        ]
        keyed: Link = (*rows, None, None)
        valued: Link = (*rows, None, (last, None))
        macs = prod(shape[:-1]) * keys[-2] * (shape[-1] + values[-1])
        return self.add(name, "attention", (q, k, v), out, (own, keyed, valued), macs=macs, **more)
